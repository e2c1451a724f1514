// Pictures to try: from scikit-image's collection, where they are in the public domain (docs/service.md).

export const EXAMPLES = [
  { file: "face.png", label: "a face, enlarged", options: { task: "sr4", prior: "faces-64", simulate: true } },
  { file: "cat.png", label: "a cat, denoised", options: { task: "denoise", sigma: "0.1", simulate: true } },
  { file: "coffee.png", label: "a cup, scratched", mask: "coffee-mask.png", options: { task: "inpaint" } },
  { file: "rocket.png", label: "a rocket, in colour", options: { task: "colorize" } },
];
