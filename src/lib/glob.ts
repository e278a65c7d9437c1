/**
 * A test for names against `pattern`, anchored at both ends: `*` stands for anything within a path component, `**`
 * for anything at all; everything else stands for itself.
 */
export function compileGlob(pattern: string): (name: string) => boolean {
  const source = pattern
    .split(/(\*+)/)
    .map((part) => {
      if (part === '*') return '[^/]*';
      return part.startsWith('*') ? '.*' : part.replaceAll(/[\\^$.|?+()[\]{}]/g, String.raw`\$&`);
    })
    .join('');
  const expression = new RegExp(`^${source}$`);
  return (name) => expression.test(name);
}
