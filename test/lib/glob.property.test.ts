import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGlob } from '../../src/lib/glob.ts';
import { fuzz, FUZZ_TIMEOUT_MS } from '../support/fuzz.ts';

/** What a pattern means, by a way that takes ages for some. */
function expressionOf(pattern: string): RegExp {
  const source = pattern
    .split(/(\*+)/)
    .map((part) => {
      if (part === '*') return '[^/]*';
      return part.startsWith('*') ? '[^]*' : part;
    })
    .join('');
  return new RegExp(`^${source}$`);
}

describe('a pattern of names', () => {
  it('fits what its stars can stand for, and nothing else', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = (...all: string[]) =>
      fc.array(fc.constantFrom(...all), { maxLength: 8 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(
        words('a', 'b', '/', '*', '**', 'ab'),
        words('a', 'b', '/', 'ab', 'aa'),
        (pattern, name) => {
          expect(compileGlob(pattern)(name)).toBe(expressionOf(pattern).test(name));
        },
      ),
      fuzz(20_000),
    );
  });

  it('takes all signs but stars for themselves', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const pattern = text.replaceAll('*', '');
        expect(compileGlob(pattern)(pattern)).toBe(true);
        expect(compileGlob(`${pattern}.`)(`${pattern}x`)).toBe(false);
      }),
    );
  });

  it('is decided soon for a name that almost fits it in millions of ways', () => {
    const name = `${'a-'.repeat(127)}/`;
    for (const pattern of ['*-*-*-*-*-*-*-*b', '**-**-**-**-**-**-**b', '**-*-**-*-**-*-**b']) {
      expect(compileGlob(pattern)(name)).toBe(false);
      expect(compileGlob(pattern)(`${name}-------b`)).toBe(pattern.startsWith('**'));
    }
  });
});
