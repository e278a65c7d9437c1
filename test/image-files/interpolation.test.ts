import { describe, expect, it } from 'vitest';
import { interpolate, parseDotenv } from '../../src/image-files/interpolation.ts';

describe('variables', () => {
  const variables = (name: string) => ({ A: 'a', EMPTY: '' })[name];

  it.each([
    ['$A-${A}', 'a-a'],
    ['${B:-x}${EMPTY:-y}${EMPTY-z}', 'xy'],
    ['${A:+x}${EMPTY:+y}${EMPTY+z}${B+w}', 'xz'],
    ['${A:-${B}}', 'a'],
    ['${B:-${A}}', 'a'],
    ['$$A $', '$A $'],
    ['${A:?why}', 'a'],
    ['$A}', 'a}'],
  ])('%s is %j', (text, expected) => {
    expect(interpolate(text, { variables, escape: '$$' })).toBe(expected);
  });

  it.each([
    ['${EMPTY:?say it}', 'EMPTY is not set: say it'],
    ['${B?}', 'B is not set'],
    ['${A', 'a ${ is not closed by }'],
    ['${}', 'a ${ is not closed by }'],
    ['${B:-'.repeat(50), 'a ${ is not closed by }'],
  ])('%s has no value', (text, message) => {
    expect(() => interpolate(text, { variables, escape: '$$' })).toThrow(message);
  });

  it('are nothing where they are not set, and told of if they count', () => {
    const unset = (text: string): string[] => {
      const names: string[] = [];
      interpolate(text, { variables, escape: '$$', onUnset: (name) => names.push(name) });
      return names;
    };
    expect(interpolate('x$B-${C}', { variables, escape: '$$' })).toBe('x-');
    expect(unset('x$B-${C}$B')).toEqual(['B', 'C']);
    expect(unset('${A:-$B}${EMPTY-$B}${B:+$C}')).toEqual([]);
    expect(unset('${EMPTY:-${D:-$B}}')).toEqual(['B']);
  });

  it('come from an .env file', () => {
    const text = `# comment
A=1
export B = two words # comment
C="x \\"y\\" #z \${A}"
D='raw $A'
E=\${A}-\${OUTER}-\${NONE}
F=
nonsense
G=a#b
H="line\\nbreak"
`;
    expect([...parseDotenv(text, (name) => (name === 'OUTER' ? 'o' : undefined))]).toEqual([
      ['A', '1'],
      ['B', 'two words'],
      ['C', 'x "y" #z 1'],
      ['D', 'raw $A'],
      ['E', '1-o-'],
      ['F', ''],
      ['G', 'a#b'],
      ['H', 'line\nbreak'],
    ]);
  });
});
