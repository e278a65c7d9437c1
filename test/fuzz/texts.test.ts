import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accepts } from '../../src/oci/media-types.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseImageName } from '../../src/oci/image-name.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { MAX_RANGES, parseRange } from '../../src/oci/range.ts';
import { isRepositoryName, isTag, parseReference } from '../../src/oci/reference.ts';
import { platformOfUserAgent } from '../../src/mirror/manifest/clients.ts';
import {
  contentLength,
  contentRange,
  pullsRemaining,
  retryAfterMs,
} from '../../src/upstream/connect/headers.ts';
import { pullLimitReading } from '../../src/upstream/limits/pull-limit.ts';
import { parseChallenges } from '../../src/upstream/auth/challenge.ts';
import { nextLinks, nextPage } from '../../src/upstream/registry/answers.ts';
import { fuzz, FUZZ_TIMEOUT_MS, textNear } from '../support/fuzz.ts';
import { routeOf } from '../support/registry-routes.ts';

const RUNS = 20_000;
const HEX = 'a1'.repeat(32);

describe('however hostile the text,', () => {
  it('a path names nothing outside the grammar', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      '/v2/',
      '/',
      'manifests',
      'blobs',
      'tags/list',
      'referrers',
      'a',
      '..',
      '%2f',
      '%2e',
      '%00',
      '%',
      'latest',
      `sha256:${HEX}`,
      'sha256%3A',
      '_catalog',
      'A',
      '-',
      '.',
      '__',
    ];
    fc.assert(
      fc.property(textNear(words), (text) => {
        const { name = '', reference: named } = routeOf(text).params;
        if (!isRepositoryName(name)) return;
        expect(name).toMatch(/^[a-z0-9][a-z0-9._/-]*$/);
        expect(name).not.toContain('..');
        const reference = named === undefined ? undefined : parseReference(named);
        if (reference?.kind === 'tag') expect(reference.tag).toMatch(/^\w[\w.-]{0,127}$/);
      }),
      fuzz(RUNS),
    );
  });

  it(
    'a digest is one that can be verified, and names a file in its folder',
    { timeout: FUZZ_TIMEOUT_MS },
    () => {
      const words = ['sha256', 'sha512', ':', HEX, HEX + HEX, 'md5', '/', '..', 'A', '0', '\n'];
      fc.assert(
        fc.property(textNear(words), (text) => {
          const digest = parseDigest(text);
          if (digest !== undefined) expect(text).toMatch(/^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/);
        }),
        fuzz(RUNS),
      );
    },
  );

  it('an image name is read or is none', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      'golang',
      'docker.io',
      'localhost',
      ':5000',
      '/',
      ':',
      '@',
      `sha256:${HEX}`,
      '1.22',
      'A',
      '..',
      '_',
      '-',
    ];
    fc.assert(
      fc.property(textNear(words), (text) => {
        const image = parseImageName(text);
        if (image === undefined) return;
        expect(isRepositoryName(image.repository.name)).toBe(true);
        if (image.reference.kind === 'tag') expect(isTag(image.reference.tag)).toBe(true);
      }),
      fuzz(RUNS),
    );
  });

  it('a range lies within the body, and there are not too many', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      'bytes',
      '=',
      '-',
      ',',
      '0',
      '1',
      '999',
      ' ',
      'items',
      '1e3',
      '18446744073709551616',
      '\t',
    ];
    fc.assert(
      fc.property(textNear(words), fc.constantFrom(0, 1, 1000, 2 ** 40), (text, size) => {
        const parsed = parseRange(text, size);
        if (parsed.kind !== 'ranges') return;
        expect(parsed.ranges.length).toBeLessThanOrEqual(MAX_RANGES);
        for (const { start, end } of parsed.ranges) {
          expect(0 <= start && start < end && end <= size, `${start}-${end} of ${size}`).toBe(true);
        }
        const inOrder = parsed.ranges.toSorted((a, b) => a.start - b.start);
        for (const [at, { end }] of inOrder.entries()) {
          expect(end, 'where the next one begins').toBeLessThan(inOrder[at + 1]?.start ?? Infinity);
        }
      }),
      fuzz(RUNS),
    );
  });

  it('Accept takes what it names and nothing else', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      'application/',
      '*',
      '/',
      ',',
      ';q=0',
      OCI_INDEX,
      OCI_INDEX.toUpperCase(),
      ' ',
      'text/html',
      '"',
    ];
    fc.assert(
      fc.property(textNear(words), (text) => {
        const isNamed = text
          .split(',')
          .map((part) => part.replace(/;[^]*/, '').trim().toLowerCase())
          .some((part) => [OCI_INDEX, '*/*', '*', 'application/*', 'application/json'].includes(part));
        expect(accepts(text, OCI_INDEX)).toBe(text.trim() === '' || isNamed);
      }),
      fuzz(RUNS),
    );
  });

  it('a platform, in a query or in a User-Agent, is whole or is none', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      'linux',
      'windows',
      '(10.0.20348',
      ')',
      '+',
      '/',
      'amd64',
      'arm',
      'v7',
      'os/',
      'arch/',
      ' ',
      'UpstreamClient(',
      '%2F',
      '%',
    ];
    fc.assert(
      fc.property(textNear(words), (text) => {
        for (const platform of [parsePlatform(text), platformOfUserAgent(text)]) {
          if (platform === undefined) continue;
          expect(platform.os).toMatch(/^[\w-]+$/);
          expect(platform.architecture).toMatch(/^[\w.-]+$/);
        }
      }),
      fuzz(RUNS),
    );
  });

  it('a challenge is what WWW-Authenticate says', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      'Bearer',
      'Basic',
      ' ',
      'realm',
      '=',
      '"',
      'https://auth.example/token',
      ',',
      '\\',
      '\\"',
      'service',
      'scope',
      'a==',
      '\t',
    ];
    fc.assert(
      fc.property(fc.array(textNear(words), { maxLength: 3 }), (lines) => {
        for (const { scheme, parameters } of parseChallenges(lines)) {
          expect(scheme).toMatch(/^[!#$%&'*+.^_`|~0-9a-z-]+$/);
          for (const name of parameters.keys()) expect(name).toBe(name.toLowerCase());
        }
      }),
      fuzz(RUNS),
    );
  });

  it('numbers in headers are numbers', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      'bytes ',
      '0',
      '9',
      '-',
      '/',
      '*',
      '100',
      ';w=',
      '21600',
      ' ',
      'Wed, 21 Oct 2015 07:28:00 GMT',
      'e9',
      '99999999999999999999',
    ];
    fc.assert(
      fc.property(textNear(words), (text) => {
        const headers = {
          'content-length': text,
          'content-range': text,
          'retry-after': text,
          'ratelimit-limit': text,
          'ratelimit-remaining': text,
          'docker-ratelimit-source': text,
        };
        const range = contentRange(headers);
        const reading = pullLimitReading(headers);
        for (const number of [
          contentLength(headers),
          retryAfterMs(headers, 0),
          pullsRemaining(headers),
          range?.total,
          range?.range?.start,
          range?.range?.end,
          reading?.limit,
          reading?.remaining,
          reading?.windowMs,
        ]) {
          if (number !== undefined)
            expect(Number.isInteger(number) && number >= 0, String(number)).toBe(true);
        }
        if (range?.range !== undefined) expect(range.range.start).toBeLessThan(range.range.end);
        expect(reading?.source ?? 'none').toMatch(/^[\w.:/-]{1,64}$/);
      }),
      fuzz(RUNS),
    );
  });

  it('a Link leads to an address or nowhere', { timeout: FUZZ_TIMEOUT_MS }, () => {
    const words = [
      '<',
      '>',
      ';',
      'rel=',
      '"next"',
      'next',
      '/v2/a/tags/list',
      '?',
      'n=10',
      '&',
      'last=b',
      ',',
      'http://',
      '\\',
    ];
    const from = new URL('https://registry.example/v2/a/tags/list');
    fc.assert(
      fc.property(fc.array(textNear(words), { maxLength: 2 }), (lines) => {
        const links = nextLinks(lines, from);
        const page = nextPage(lines, from);
        if (page !== undefined) {
          expect(
            links.some(({ searchParams }) => (searchParams.get('last') ?? undefined) === page.last),
          ).toBe(true);
        }
      }),
      fuzz(RUNS),
    );
  });
});
