import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseImageList } from '../../src/image-files/list.ts';
import { readImageSource } from '../../src/image-files/source.ts';
import { ListError } from '../../src/image-files/needed.ts';
import { renderLockFile } from '../../src/image-files/lock.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { formatFullName, parseFullName } from '../../src/oci/image-name.ts';
import { formatListedImage, parseListedImage, type ListedImage } from '../../src/oci/image-name.ts';
import { formatPlatform, parsePlatform, type Platform } from '../../src/oci/platform.ts';
import { PLAIN_CONTEXT } from '../support/source-context.ts';

const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
const path = fc.array(component, { minLength: 2, maxLength: 4 }).map((parts) => parts.join('/'));
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/);
const digest = fc.string().map((text) => digestOf(Buffer.from(text)));
const platform = fc
  .constantFrom('linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/arm64/v8', 'windows(10.0.20348)/amd64')
  .map((text) => parsePlatform(text) as Platform);
const image: fc.Arbitrary<ListedImage> = fc
  .record({
    host: fc.constantFrom('ghcr.io', 'registry.local:5000', 'localhost'),
    name: path,
    tag: fc.option(tag, { nil: undefined }),
    digest: fc.option(digest, { nil: undefined }),
    platforms: fc.array(platform, { maxLength: 4 }),
  })
  .map(({ host, name, tag: named, digest: exact, platforms }) => ({
    repository: { host, name },
    ...(exact === undefined || named !== undefined ? { tag: named ?? 'latest' } : {}),
    ...(exact === undefined ? {} : { digest: exact }),
    platforms: [...new Map(platforms.map((each) => [formatPlatform(each), each])).entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, each]) => each),
  }));

describe('names of images', () => {
  it('are read as they are written', () => {
    fc.assert(
      fc.property(image, (each) => {
        expect({ ...parseFullName(formatFullName(each)), platforms: each.platforms }).toEqual(each);
      }),
    );
  });
});

describe('a line that names an image and its platforms', () => {
  it('is read as it is written', () => {
    fc.assert(
      fc.property(image, (each) => {
        expect(parseListedImage(formatListedImage(each))).toEqual(each);
        expect(parseImageList('a', formatListedImage(each))).toEqual([each]);
      }),
    );
  });
});

describe('a lock', () => {
  it('gives back what was put into it', () => {
    fc.assert(
      fc.property(fc.array(image, { maxLength: 8 }), (images) => {
        const read = parseImageList('a.lock', renderLockFile(images));
        const keys = (list: readonly ListedImage[]) => [...new Set(list.map(formatListedImage))].sort();
        expect(keys(read)).toEqual(keys(images));
        for (const each of read) expect(images).toContainEqual(each);
      }),
    );
  });

  it('is the same for the same images in any order', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(image, { maxLength: 8, selector: formatListedImage }),
        fc.nat(),
        (images, at) => {
          const turned = images
            .toSpliced(0, at % (images.length + 1))
            .concat(images.slice(0, at % (images.length + 1)));
          expect(renderLockFile(turned.toReversed())).toBe(renderLockFile(images));
        },
      ),
    );
  });
});

describe('a list', () => {
  it('is read or refused, whatever it holds', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.string().map((rest) => `version: 1\n${rest}`),
      fc.string().map((rest) => `version: 1\nimages:\n  - image: ${rest}\n`),
    );
    fc.assert(
      fc.property(text, (input) => {
        try {
          parseImageList('a', input);
        } catch (error) {
          if (!(error instanceof ListError)) throw error;
          expect(error.message).toMatch(/^a:\d+: /);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('a file that needs images', () => {
  const word = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom(
      'FROM ',
      'ARG A=1\n',
      'COPY --from=',
      'RUN <<A\n',
      'services:\n',
      'kind: List\nitems:\n',
      'spec:\n',
      'containers:\n',
      'image: ',
      '  ',
      '- ',
      '\n',
      '${A:-',
      '}',
      '$',
      '&a ',
      '*a',
      '<<: ',
      '---\n',
      '{',
      '[',
      'alpine',
      '# syntax=',
      '\\\n',
    ),
  );
  const content = fc.array(word, { maxLength: 24 }).map((words) => words.join(''));
  const fileName = fc.constantFrom('Dockerfile', 'compose.yaml', 'pod.json', 'images.txt');

  it('is read or refused, whatever it holds, and what is wrong is told with its line', () => {
    fc.assert(
      fc.property(fileName, content, (file, input) => {
        try {
          const { images, problems } = readImageSource({
            path: file,
            text: input,
            ...PLAIN_CONTEXT,
          });
          for (const { place } of images) expect(place.startsWith(file)).toBe(true);
          for (const problem of problems) expect(problem).toMatch(/^[\w.]+:\d+: /);
        } catch (error) {
          if (!(error instanceof ListError)) throw error;
          expect(error.message).toMatch(/^[\w.]+:\d+: /);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('names the image of every FROM that is no stage', () => {
    const names = image.map(
      ({ repository, tag: named }) => `${repository.host}/${repository.name}:${named ?? 'x'}`,
    );
    fc.assert(
      fc.property(fc.array(names, { minLength: 1, maxLength: 6 }), (wanted) => {
        const dockerfile = wanted.map((each, at) => `FROM ${each} AS stage${at}\nRUN true\n`).join('');
        const { images, problems } = readImageSource({
          path: 'Dockerfile',
          text: dockerfile,
          ...PLAIN_CONTEXT,
        });
        expect(problems).toEqual([]);
        expect(images.map((each) => formatFullName(each.image))).toEqual(wanted);
      }),
    );
  });
});
