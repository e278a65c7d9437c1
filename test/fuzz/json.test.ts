import fc, { type Arbitrary } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson } from '../../src/lib/json.ts';
import { JsonError, JsonReader, type JsonLimits } from '../../src/lib/json.ts';
import { listOf, objectOf, SCALAR, VERBATIM } from '../../src/lib/json.ts';
import {
  expectUnpolluted,
  fuzz,
  FUZZ_TIMEOUT_MS,
  jsonNear,
  mutated,
  unlessRefused,
} from '../support/fuzz.ts';

const RUNS = 20_000;
const AMPLE: JsonLimits = { maxDepth: 1000, maxValues: 1_000_000, maxKeys: 1_000_000 };
const SHAPE = objectOf({ name: SCALAR, 'a"\\b': SCALAR, list: listOf(objectOf({ name: SCALAR })) });
const KEYS = ['name', 'a"\\b', 'list', 'names', 'nam', 'é', ''];
const VALUES = [
  'a',
  'é',
  '\u0000\b\n',
  '\ud800',
  '😀"\\/',
  -0.5,
  1e21,
  5e-324,
  false,
  [],
  {},
  [[{ name: 1 }]],
];

/** A text in the many ways in which it can be written: with space, escapes, exponents, keys twice. */
const written: Arbitrary<string> = fc
  .tuple(jsonNear(KEYS, VALUES), fc.array(fc.nat(7), { minLength: 1, maxLength: 12 }))
  .map(([value, ways]) => {
    let at = 0;
    const way = (): number => ways[at++ % ways.length] ?? 0;
    const space = (): string => ['', '', '', ' ', '\n', '\t\r ', '', ' '][way()] ?? '';
    const text = (plain: string): string => {
      if (way() > 1) return JSON.stringify(plain);
      const escaped = [...Array(plain.length).keys()].map((index) => {
        return `\\u${plain.charCodeAt(index).toString(16).padStart(4, '0')}`;
      });
      return `"${escaped.join('')}"`;
    };
    const spell = (each: unknown): string => {
      if (typeof each === 'string') return text(each);
      if (typeof each === 'number') return way() > 1 ? JSON.stringify(each) : each.toExponential();
      if (Array.isArray(each))
        return `[${each.map((item) => space() + spell(item)).join(`${space()},`)}${space()}]`;
      if (typeof each !== 'object' || each === null) return JSON.stringify(each);
      const members = Object.entries(each).flatMap(([key, item]) => {
        const member = `${space()}${text(key)}${space()}:${space()}${spell(item)}${space()}`;
        return way() === 7 ? [`${text(key)}:1`, member] : [member];
      });
      return `{${members.join(',')}${space()}}`;
    };
    return space() + spell(value) + space();
  });

/** What the shape leaves of a value. */
function shaped(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return [];
  const own = (object: object, key: string, map: (item: unknown) => unknown): object => {
    const found = Object.entries(object).find(([name]) => name === key);
    return found === undefined ? {} : { [key]: map(found[1]) };
  };
  const scalar = (item: unknown): unknown =>
    typeof item !== 'object' || item === null ? item : Array.isArray(item) ? [] : {};
  const named = (item: unknown): unknown =>
    typeof item !== 'object' || item === null || Array.isArray(item)
      ? scalar(item)
      : own(item, 'name', scalar);
  return {
    ...own(value, 'name', scalar),
    ...own(value, 'a"\\b', scalar),
    ...own(value, 'list', (item) => (Array.isArray(item) ? item.map(named) : scalar(item))),
  };
}

/** Values, keys and depth of what was parsed. */
function measure(value: unknown): { values: number; keys: number; depth: number } {
  if (typeof value !== 'object' || value === null) return { values: 1, keys: 0, depth: 0 };
  const inner = Object.values(value).map(measure);
  return {
    values: inner.reduce((sum, { values }) => sum + values, 1),
    keys: inner.reduce((sum, { keys }) => sum + keys, Array.isArray(value) ? 0 : inner.length),
    depth: inner.reduce((most, { depth }) => Math.max(most, depth), 0) + 1,
  };
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

describe('JSON of others', () => {
  it('is read as JSON.parse reads it, as far as a shape asks for it', { timeout: FUZZ_TIMEOUT_MS }, () => {
    fc.assert(
      fc.property(written, (text) => {
        // A lone surrogate has no bytes of its own.
        const bytes = Buffer.from(text);
        const value: unknown = JSON.parse(bytes.toString());
        expect(new JsonReader(bytes, AMPLE).read(SHAPE)).toEqual(shaped(value));
        expect(new JsonReader(bytes, AMPLE).read()).toBeUndefined();
        expect(parseJson(bytes, AMPLE)).toEqual(value);
        const verbatim = new JsonReader(bytes, AMPLE).read(VERBATIM) as Buffer;
        expect(verbatim.toString()).toBe(bytes.toString().trim());
        expectUnpolluted();
      }),
      fuzz(RUNS),
    );
  });

  it('that is damaged is refused exactly when JSON.parse refuses it', { timeout: FUZZ_TIMEOUT_MS }, () => {
    fc.assert(
      fc.property(written.chain(mutated), (text) => {
        const bytes = Buffer.from(text);
        const expected = parsed(bytes.toString());
        const read = unlessRefused(() => ({ value: new JsonReader(bytes, AMPLE).read(SHAPE) }), JsonError);
        expect(read === undefined).toBe(expected === undefined);
        if (read !== undefined) expect(read.value).toEqual(shaped(expected?.value));
      }),
      fuzz(RUNS),
    );
  });

  it(
    'is refused when it holds one thing more than its limits, and not before',
    { timeout: FUZZ_TIMEOUT_MS },
    () => {
      fc.assert(
        fc.property(jsonNear(KEYS, VALUES), (value) => {
          const text = JSON.stringify(value);
          const { values, keys, depth } = measure(JSON.parse(text));
          const exact: JsonLimits = { maxDepth: depth, maxValues: values, maxKeys: keys };
          expect(parseJson(text, exact)).toEqual(JSON.parse(text));
          for (const less of [
            { ...exact, maxDepth: depth - 1 },
            { ...exact, maxValues: values - 1 },
            { ...exact, maxKeys: keys - 1 },
          ]) {
            if (Math.min(...Object.values(less)) >= 0) expect(() => parseJson(text, less)).toThrow(JsonError);
          }
        }),
        fuzz(RUNS),
      );
    },
  );

  it('with bytes that are no UTF-8 is read as its text is', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const bytes = fc.uint8Array({ maxLength: 12 }).map((odd) => {
      return Buffer.concat([Buffer.from('{"name":"'), odd, Buffer.from('"}')]);
    });
    fc.assert(
      fc.property(bytes, (each) => {
        const expected = parsed(each.toString());
        const read = unlessRefused(() => ({ value: new JsonReader(each, AMPLE).read(SHAPE) }), JsonError);
        expect(read?.value).toEqual(expected === undefined ? undefined : shaped(expected.value));
      }),
      fuzz(RUNS),
    );
  });
});
