import fc, { type Arbitrary } from 'fast-check';
import { expect } from 'vitest';

const FACTOR = Number(process.env['FUZZ_FACTOR'] ?? 1);

/** For a test that tries so many. */
export const FUZZ_TIMEOUT_MS = 120_000 * FACTOR;

/**
 * How many cases a property on hostile input tries: `runs`, times `FUZZ_FACTOR` (`npm run fuzz` sets it). A failure
 * names its seed and path, which `FUZZ_SEED` repeats.
 */
export function fuzz(runs: number): { readonly numRuns: number; readonly seed?: number } {
  const { FUZZ_SEED: seed } = process.env;
  return { numRuns: Math.ceil(runs * FACTOR), ...(seed === undefined ? {} : { seed: Number(seed) }) };
}

/** For what blow up patterns that go back and forth: one word many times over. */
function repeated(words: readonly string[]): Arbitrary<string> {
  return fc
    .tuple(
      fc.constantFrom(...words),
      fc.constantFrom(1, 7, 400, 5000),
      fc.constantFrom('', '\0', '!', '"', 'x'),
    )
    .map(([word, times, end]) => word.repeat(times) + end);
}

/**
 * Texts near a grammar: `words` of it in any order, with anything in between, cut and doubled; and now and then one
 * word some thousand times over.
 */
export function textNear(words: readonly string[]): Arbitrary<string> {
  const piece = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...words) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 4 }) },
    { weight: 1, arbitrary: fc.nat(2 ** 40).map(String) },
  );
  return fc.oneof(
    { weight: 20, arbitrary: fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')) },
    { weight: 1, arbitrary: repeated(words) },
  );
}

/** A few changes to a text of bytes: some lost, some doubled, some replaced, some that were not there. */
export function mutated(text: string): Arbitrary<string> {
  const change = fc.tuple(
    fc.constantFrom('drop', 'double', 'insert', 'replace', 'cut'),
    fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    fc.nat(12),
    fc.oneof(
      fc.constantFrom(
        '\r\n',
        '\n',
        '\r',
        '\0',
        ' ',
        ':',
        ',',
        ';',
        '%',
        '"',
        '\t',
        '\x7f',
        '-1',
        '99999999999999999999',
      ),
      fc.nat(255).map((code) => String.fromCharCode(code)),
    ),
  );
  return fc.array(change, { minLength: 1, maxLength: 5 }).map((changes) =>
    changes.reduce((result, [how, where, length, bytes]) => {
      const at = Math.floor(where * result.length);
      const end = at + length;
      switch (how) {
        case 'drop':
          return result.slice(0, at) + result.slice(end);
        case 'double':
          return result.slice(0, end) + result.slice(at);
        case 'insert':
          return result.slice(0, at) + bytes + result.slice(at);
        case 'replace':
          return result.slice(0, at) + bytes + result.slice(at + bytes.length);
        case 'cut':
          return result.slice(0, end);
      }
    }, text),
  );
}

/** What `read` gives, if it does not refuse by one of these errors. */
export function unlessRefused<T>(
  read: () => T,
  ...refusals: readonly (new (...args: never[]) => Error)[]
): T | undefined {
  try {
    return read();
  } catch (error) {
    expect(
      refusals.some((refusal) => error instanceof refusal),
      String(error),
    ).toBe(true);
    return undefined;
  }
}

/** Any JSON under these keys, those that mean something to JavaScript among them. */
export function jsonNear(keys: readonly string[], values: readonly unknown[]): Arbitrary<unknown> {
  const special = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
  const { node } = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 5 },
      { weight: 3, arbitrary: fc.constantFrom(...values) },
      { weight: 1, arbitrary: fc.constantFrom(null, true, -1, 0.5, 2 ** 53, '', 'x'.repeat(2000)) },
      { weight: 2, arbitrary: fc.array(tie('node'), { maxLength: 4 }) },
      {
        weight: 6,
        arbitrary: fc
          .array(fc.tuple(fc.constantFrom(...keys, ...special), tie('node')), { maxLength: 6 })
          .map(Object.fromEntries),
      },
    ),
  }));
  return node;
}

/** Nothing that was read has changed what all objects have. */
export function expectUnpolluted(): void {
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect('polluted' in {}).toBe(false);
}
