import fc from 'fast-check';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCredentials } from '../../src/accounts/accounts.ts';
import { parseHtpasswd } from '../../src/accounts/files.ts';
import { parseTokenFile } from '../../src/accounts/files.ts';
import { FileError } from '../../src/lib/errors.ts';
import { parseHelperAnswer } from '../../src/upstream/auth/credential-helper.ts';
import { DockerConfig } from '../../src/upstream/auth/docker-config.ts';
import type { StoredLogin } from '../../src/upstream/auth/logins.ts';
import {
  expectUnpolluted,
  fuzz,
  FUZZ_TIMEOUT_MS,
  jsonNear,
  mutated,
  textNear,
  unlessRefused,
} from '../support/fuzz.ts';
import { testFolder } from '../support/temp.ts';

const RUNS = 10_000;
const HASH = `$2y$10$${'a'.repeat(53)}`;
const TOKEN = 'a-token-of-twenty-characters';
const timeout = { timeout: FUZZ_TIMEOUT_MS };

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
          expect(token).toMatch(/^[\w.~+/-]{20,}=*$/);
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
