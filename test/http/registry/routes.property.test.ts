import fc from 'fast-check';
import { expect, it } from 'vitest';
import { routeOf, type ChosenRoute } from '../../support/registry-routes.ts';

const UNKNOWN: ChosenRoute = { kind: 'other', params: {} };

/** What a target names, read from its end by hand: the last route word counts, and one segment follows it. */
function named(target: string): ChosenRoute {
  if (target === '/healthz' || target === '/readyz') return { kind: 'health', params: {} };
  const [path = ''] = target.split('?');
  if (path === '/v2/' || path === '/v2') return { kind: 'ping', params: {} };
  if (!path.startsWith('/v2/')) return UNKNOWN;
  const segments = decoded(path.slice(4).split('/'));
  if (segments.length === 1 && segments[0] === '_catalog') {
    return { kind: 'catalog', params: { name: '_catalog' } };
  }
  const name = segments.slice(0, -2).join('/');
  const [word, last = ''] = segments.slice(-2);
  if (name === '' || last === '') return UNKNOWN;
  switch (word) {
    case 'manifests':
      return { kind: 'manifest', params: { name, reference: last } };
    case 'blobs':
      return { kind: 'blob', params: { name, digest: last } };
    case 'referrers':
      return { kind: 'referrers', params: { name, digest: last } };
    case 'tags':
      return last === 'list' ? { kind: 'tags', params: { name } } : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

/** Empty if one cannot be decoded, or would become two. */
function decoded(segments: readonly string[]): string[] {
  try {
    const all = segments.map(decodeURIComponent);
    return all.some((segment) => segment.includes('/')) ? [] : all;
  } catch {
    return [];
  }
}

const WORDS = ['manifests', 'blobs', 'tags', 'list', 'tags/list', 'referrers', '_catalog', 'v2', 'healthz'];
const TEXTS = [
  'a',
  'golang',
  'manifests-2',
  'sha256:ab',
  '..',
  '',
  ':name',
  '*',
  '\\',
  '#',
  '\u00e9',
  '{.+}',
];
const CODES = ['%2F', '%2f', '%25', '%252F', '%3A', '%0A', '%', '%ff', '%E2%80%A8', 'm%61nifests', '%5C'];
const segment = fc.oneof(
  fc.constantFrom(...WORDS),
  fc.constantFrom(...TEXTS),
  fc
    .array(fc.constantFrom(...CODES, 'a', 'B'), { minLength: 1, maxLength: 3 })
    .map((parts) => parts.join('')),
  fc.string({ unit: 'binary', maxLength: 5 }),
);
const path = fc.array(segment, { maxLength: 7 }).map((segments) => segments.join('/'));
const query = fc.oneof(fc.constantFrom('', '?', '?ns=docker.io', '?a=/v2/b/manifests/c', '?%'), fc.string());
const target = fc
  .tuple(fc.constantFrom('/v2/', '/v2/', '/v2/', '/v2', '/', '', '/v2/a/', '//v2/'), path, query)
  .map((parts) => parts.join(''));

it('a target goes where reading it from its end leads, whatever is in its name', () => {
  fc.assert(
    fc.property(target, (text) => {
      const { kind, params } = routeOf(text);
      const expected = named(text);
      // What nothing is made of is left out.
      expect({ kind, params: kind === 'other' ? {} : params }).toEqual(expected);
    }),
    { numRuns: 10_000 },
  );
});
