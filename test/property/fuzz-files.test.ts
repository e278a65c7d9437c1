import fc, { type Arbitrary } from 'fast-check';
import { writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCredentials } from '../../src/access/credentials.ts';
import { parseHtpasswd } from '../../src/access/htpasswd.ts';
import { parseTokenFile } from '../../src/access/token-file.ts';
import { parseBundleContents } from '../../src/bundle/bundle-contents.ts';
import { BundleError } from '../../src/bundle/bundle-error.ts';
import { parseBundleIndex } from '../../src/bundle/bundle-index.ts';
import { blobName } from '../../src/bundle/bundle-layout.ts';
import { parseDotenv } from '../../src/bundle/dotenv.ts';
import { readImageSource } from '../../src/bundle/image-source.ts';
import { ListError } from '../../src/bundle/list-error.ts';
import { forwardedAddress } from '../../src/http/forwarded.ts';
import { FileError } from '../../src/lib/file-error.ts';
import { isRepositoryName } from '../../src/oci/reference.ts';
import { parseHelperAnswer } from '../../src/upstream/credential-helper.ts';
import { DockerConfig } from '../../src/upstream/docker-config.ts';
import type { StoredLogin } from '../../src/upstream/stored-login.ts';
import { fuzz, FUZZ_TIMEOUT_MS, mutated, textNear } from '../support/fuzz.ts';
import { testFolder } from '../support/temp.ts';

const RUNS = 10_000;
const DIGEST = `sha256:${'a1'.repeat(32)}`;
const HASH = `$2y$10$${'a'.repeat(53)}`;
const TOKEN = 'a-token-of-twenty-characters';
const timeout = { timeout: FUZZ_TIMEOUT_MS };

/** What `read` gives, if it does not refuse by one of these errors. */
function unlessRefused<T>(
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
function jsonNear(keys: readonly string[], values: readonly unknown[]): Arbitrary<unknown> {
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

function expectUnpolluted(): void {
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect('polluted' in {}).toBe(false);
}

describe('however hostile the file of accounts,', () => {
  it('a hash is one of bcrypt, of a cost that can be borne', timeout, () => {
    const words = ['bob', ':', HASH, '$2b$31$', '$apr1$', '\n', '\r\n', '#', 'a', '__proto__:'];
    fc.assert(
      fc.property(fc.oneof(textNear(words), mutated(`bob:${HASH}\nann:${HASH}\n`)), (text) => {
        for (const [name, hash] of unlessRefused(() => parseHtpasswd(text), FileError) ?? []) {
          expect(name).toMatch(/^[^:\n]+$/);
          expect(hash).toMatch(/^\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}$/);
        }
      }),
      fuzz(RUNS),
    );
  });

  it('a token is long enough, and one account’s alone', timeout, () => {
    const words = ['bob', ':', TOKEN, '\n', '\r\n', '#', '=', 'a', '__proto__:'];
    fc.assert(
      fc.property(fc.oneof(textNear(words), mutated(`bob:${TOKEN}\nann:${TOKEN}2\n`)), (text) => {
        for (const [token, name] of unlessRefused(() => parseTokenFile(text), FileError) ?? []) {
          expect(token).toMatch(/^[\w.~+/-]{19,}=*$/);
          expect(name).toMatch(/^[^:\n]+$/);
        }
      }),
      fuzz(RUNS),
    );
  });

  it('credentials have a name, or are a token', timeout, () => {
    const words = ['Basic', 'Bearer', ' ', 'Ym9iOnNlY3JldA==', '=', ':', 'a', 'OnNlY3JldA==', '\t'];
    fc.assert(
      fc.property(textNear(words), (text) => {
        const credentials = parseCredentials(text);
        if (credentials?.kind === 'basic') expect(credentials.name).toMatch(/^[^:]+$/);
        if (credentials?.kind === 'bearer') expect(credentials.secret).toMatch(/^\S+$/);
      }),
      fuzz(RUNS),
    );
  });
});

describe('whatever X-Forwarded-For says,', () => {
  const isTrusted = (address: string): boolean => address.startsWith('10.');
  const words = [
    '10.0.0.1',
    '192.0.2.1',
    ',',
    ' ',
    ':4711',
    '[2001:db8::1]',
    '::ffff:10.0.0.2',
    'unknown',
    '"',
    '10.',
  ];

  it('the client has an address', timeout, () => {
    fc.assert(
      fc.property(textNear(words), (hops) => {
        expect(isIP(forwardedAddress('10.0.0.9', hops, isTrusted))).not.toBe(0);
      }),
      fuzz(RUNS),
    );
  });

  it(
    'who is no trusted proxy stays who it is, and nobody is another than the last proxy was told',
    timeout,
    () => {
      fc.assert(
        fc.property(textNear(words), (hops) => {
          expect(forwardedAddress('192.0.2.9', hops, isTrusted)).toBe('192.0.2.9');
          expect(forwardedAddress('10.0.0.9', `${hops},192.0.2.77`, isTrusted)).toBe('192.0.2.77');
        }),
        fuzz(RUNS),
      );
    },
  );
});

function expectLogin(login: StoredLogin | undefined): void {
  if (login === undefined) return;
  const text = login.kind === 'password' ? `${login.username}${login.password}` : login.token;
  expect(text).toMatch(/^\P{Cc}+$/u);
  if (login.kind === 'password') expect(login.username).toMatch(/^[^:]+$/);
}

describe('however hostile Docker’s own files,', () => {
  const keys = [
    'auths',
    'credHelpers',
    'credsStore',
    'ghcr.io',
    'https://ghcr.io',
    'auth',
    'identitytoken',
    'username',
    'password',
  ];
  const values = ['Ym9iOnNlY3JldA==', 'bob', 'Ym9iOnNlY3JldAo=', '../../bin/sh', 'no such helper', 'a\r\nb'];

  it('config.json holds a login that can be sent, or the word that it holds none', timeout, async () => {
    const path = join(await testFolder(), 'config.json');
    const config = new DockerConfig({ path, host: 'ghcr.io', now: Date.now });
    const hostile = jsonNear(keys, values).map((json) => JSON.stringify(json));
    await fc.assert(
      fc.asyncProperty(fc.oneof(hostile, hostile.chain(mutated)), async (text) => {
        await writeFile(path, text);
        const login = await config.get().catch((error: unknown) => {
          expect(error).toMatchObject({ failure: { kind: 'unavailable', cause: 'credentials' } });
          expect(String(error)).not.toMatch(/Ym9i|secret/);
          return undefined;
        });
        expectLogin(login);
        expectUnpolluted();
      }),
      fuzz(1000),
    );
  });

  it('a helper answers with a login that can be sent, or with none', timeout, () => {
    const answer = jsonNear(['ServerURL', 'Username', 'Secret'], values).map((json) => JSON.stringify(json));
    const usual = '{"ServerURL":"ghcr.io","Username":"bob","Secret":"word"}';
    fc.assert(
      fc.property(fc.oneof(answer, mutated(usual)), (text) => {
        expectLogin(parseHelperAnswer(text));
        expectUnpolluted();
      }),
      fuzz(RUNS),
    );
  });
});

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
    fc.assert(
      fc.property(fc.oneof(hostile, hostile.chain(mutated)), (text) => {
        const contents = unlessRefused(() => parseBundleContents(Buffer.from(text)), BundleError);
        expectUnpolluted();
        if (contents === undefined) return;
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
  });

  it('index.json names images, or is refused', timeout, () => {
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
      fc.property(fc.oneof(hostile, hostile.chain(mutated)), (text) => {
        const index = unlessRefused(() => parseBundleIndex(Buffer.from(text)), BundleError);
        expectUnpolluted();
        for (const { repository } of index?.images ?? [])
          expect(isRepositoryName(repository.name)).toBe(true);
      }),
      fuzz(RUNS),
    );
  });
});

const read = (path: string, text: string) =>
  unlessRefused(() => readImageSource({ path, text, variables: () => undefined }), ListError);

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
    expect(() => readImageSource({ path: 'x.yaml', text, variables: () => undefined })).toThrow(
      'says far more by its aliases than it has characters',
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
          expect(error).toMatchObject({ code: 'variable-unset' });
        }
        expectUnpolluted();
      }),
      fuzz(RUNS),
    );
  });
});
