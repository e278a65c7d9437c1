import fc from 'fast-check';
import { PLAIN_CONTEXT } from '../support/source-context.ts';
import { describe, expect, it } from 'vitest';
import { parseBundleContents } from '../../src/bundle/contents.ts';
import { BundleError } from '../../src/bundle/error.ts';
import { parseBundleIndex, renderBundleIndex } from '../../src/bundle/bundle-index.ts';
import { blobName } from '../../src/bundle/contents.ts';
import { parseDotenv } from '../../src/image-files/interpolation.ts';
import { readImageSource } from '../../src/image-files/source.ts';
import { ListError } from '../../src/image-files/needed.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseImageName } from '../../src/oci/image-name.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { isRepositoryName } from '../../src/oci/reference.ts';
import {
  expectUnpolluted,
  fuzz,
  FUZZ_TIMEOUT_MS,
  jsonNear,
  mutated,
  textNear,
  unlessRefused,
} from '../support/fuzz.ts';

const RUNS = 10_000;
const DIGEST = digestOf(Buffer.from('a blob'));
const timeout = { timeout: FUZZ_TIMEOUT_MS };

describe('however hostile what a bundle says it holds,', () => {
  const values = [
    DIGEST,
    'sha256:../../etc/passwd',
    '../..',
    'docker.io/library/golang',
    77,
    'latest',
    `${DIGEST}/..`,
  ];
  const near = (keys: readonly string[]) =>
    fc
      .oneof(
        jsonNear(keys, values),
        jsonNear(keys, values).map((json) => ({ manifests: [], referrers: [], blobs: [], base: [json] })),
        fc
          .array(jsonNear(keys, values), { maxLength: 3 })
          .map((blobs) => ({ manifests: blobs, referrers: blobs, blobs, base: blobs })),
      )
      .map((json) => JSON.stringify(json));

  it('pierhead.json names blobs in their folder, and repositories, or is refused', timeout, () => {
    const hostile = near([
      'manifests',
      'referrers',
      'blobs',
      'base',
      'docker',
      'digest',
      'size',
      'mediaType',
      'repository',
      'subject',
    ]);
    const blob = { digest: DIGEST, size: 77 };
    const lists = [{ repository: 'docker.io/library/golang', subject: DIGEST, ...blob }];
    const kept = [{ ...blob, mediaType: OCI_INDEX }];
    const usual = JSON.stringify({ manifests: kept, referrers: lists, blobs: [blob], base: [blob] });
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(hostile, mutated(usual)), (text) => {
        const contents = unlessRefused(() => parseBundleContents(Buffer.from(text)), BundleError);
        expectUnpolluted();
        if (contents === undefined) return;
        read++;
        const { manifests, blobs, base, referrers } = contents;
        for (const { digest, size } of [
          ...manifests,
          ...blobs,
          ...base,
          ...referrers.map(({ list }) => list),
        ]) {
          expect(blobName(digest)).toMatch(/^blobs\/sha(256|512)\/[a-f0-9]+$/);
          expect(Number.isSafeInteger(size) && size >= 0).toBe(true);
        }
        for (const { repository } of referrers) expect(isRepositoryName(repository.name)).toBe(true);
      }),
      fuzz(RUNS),
    );
    expect(read).toBeGreaterThan(0);
  });

  it('index.json names images, or is refused', timeout, () => {
    const image = parseImageName('ghcr.io/org/app:1.22');
    const root = { digest: DIGEST, mediaType: OCI_INDEX, size: 77 } as const;
    const usual = renderBundleIndex(image === undefined ? [] : [{ name: image, root }], DIGEST).toString();
    let read = 0;
    const hostile = near([
      'schemaVersion',
      'mediaType',
      'manifests',
      'annotations',
      'digest',
      'size',
      'io.pierhead.bundle.version',
      'io.pierhead.bundle.contents',
      'org.opencontainers.image.ref.name',
    ]);
    fc.assert(
      fc.property(fc.oneof(hostile, mutated(usual)), (text) => {
        const index = unlessRefused(() => parseBundleIndex(Buffer.from(text)), BundleError);
        expectUnpolluted();
        for (const { name } of index?.images ?? []) {
          read++;
          expect(isRepositoryName(name.repository.name)).toBe(true);
          if (name.reference.kind === 'tag') expect(name.reference.tag).toMatch(/^\w[\w.-]{0,127}$/);
        }
      }),
      fuzz(RUNS),
    );
    expect(read).toBeGreaterThan(0);
  });
});

const read = (path: string, text: string) =>
  unlessRefused(() => readImageSource({ path, text, ...PLAIN_CONTEXT }), ListError);

/** A map that merges ten of the one before ten times, and so on: ten to the eighth of entries. */
function billionLaughs(levels: number): string {
  const level = (at: number): string =>
    at === 0 ? 'a0: &a0 {image: x}' : `a${at}: &a${at} {<<: [${`*a${at - 1}, `.repeat(10)}]}`;
  return Array.from({ length: levels }, (_, at) => level(at)).join('\n');
}

describe('however hostile a file that names images,', () => {
  it.each([
    ['merges of merges', `${billionLaughs(9)}\nservices: {a: {<<: *a8}}`],
    [
      'lists of lists',
      `kind: List\nitems:\n- &a {items: [${'{spec: {containers: [{image: x}]}},'.repeat(1000)}]}\n- &b {items: [${'*a,'.repeat(1000)}]}\n- &c {items: [${'*b,'.repeat(1000)}]}\n`,
    ],
  ])('%s come to an end', timeout, (_, text) => {
    read('x.yaml', text);
  });

  it('a large map that a thousand others merge is refused', timeout, () => {
    const large = Array.from({ length: 5000 }, (_, at) => `k${at}: 1`).join(', ');
    const services = Array.from({ length: 1000 }, (_, at) => `  s${at}: {<<: *a}\n`).join('');
    const text = `x: &a {${large}}\nservices:\n${services}`;
    expect(() => readImageSource({ path: 'x.yaml', text, ...PLAIN_CONTEXT })).toThrow(
      'its YAML aliases expand to too many nodes',
    );
  });

  it.each([
    ['a map in itself', 'compose.yaml', 'services: &a {<<: *a, x: *a, y: {image: *a}}'],
    ['a list in itself', 'k.yaml', 'kind: List\nitems: &a [*a, *a]'],
    ['brackets in brackets', 'k.yaml', `kind: ${'['.repeat(50_000)}`],
    ['maps in maps', 'compose.yaml', `services: ${'{a: '.repeat(50_000)}`],
    ['aliases by the thousand', 'compose.yaml', `x: &x {image: a}\nservices:\n${'  s: *x\n'.repeat(50_000)}`],
    ['braces in braces', 'compose.yaml', `services: {a: {image: "${'${A:-'.repeat(20_000)}"}}`],
    [
      'here-documents without end',
      'Dockerfile',
      `FROM x\nRUN ${'<<a '.repeat(50_000)}\n${'x\n'.repeat(50_000)}`,
    ],
    ['a comment of blanks', 'Dockerfile', `#a=x${' '.repeat(200_000)}\u2028y\nFROM x`],
    ['comments in comments', 'x.list', `golang${' #'.repeat(200_000)}\u2028x`],
    ['flags without end', 'Dockerfile', `FROM x\nCOPY ${'--a=--a '.repeat(100_000)}`],
  ])('%s: it is read or refused', timeout, (_, path, text) => {
    read(path, text);
  });

  it('YAML with aliases everywhere is read or refused', timeout, () => {
    const words = [
      'services',
      ':',
      ' ',
      '\n',
      '  ',
      '- ',
      '&a ',
      '*a',
      '<<: ',
      '[',
      ']',
      '{',
      '}',
      ',',
      'image: golang',
      'kind: List',
      'items: ',
      'version: 1',
      'images:',
      '|',
      '!!js/function x',
      '__proto__: ',
      '? ',
      '---\n',
      '"',
      'spec: ',
    ];
    fc.assert(
      fc.property(textNear(words), fc.constantFrom('compose.yaml', 'x.lock', 'x.json'), (text, path) => {
        read(path, text);
        expectUnpolluted();
      }),
      fuzz(3000),
    );
  });

  it('variables of an .env file are text, whatever else is in it', timeout, () => {
    const words = [
      'A',
      '=',
      'export ',
      '"',
      "'",
      '$A',
      '${A:-',
      '}',
      '\\',
      '\n',
      '#',
      ' ',
      'B=',
      '__proto__=',
    ];
    fc.assert(
      fc.property(textNear(words), (text) => {
        try {
          for (const [name, value] of parseDotenv(text, () => undefined)) {
            expect([typeof name, typeof value]).toEqual(['string', 'string']);
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'not-interpolated' });
        }
        expectUnpolluted();
      }),
      fuzz(RUNS),
    );
  });
});
