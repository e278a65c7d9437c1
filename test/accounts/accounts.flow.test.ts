import { rename, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { accountsFile, basic, bearer, htpasswdLine } from '../support/accounts.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../support/app.ts';
import { filledHub, GOLANG, PLAIN } from '../support/filled-hub.ts';
import { rawRequest, type RawRequest, type RawResponse } from '../support/http.ts';
import { testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

const ALICE = { name: 'alice', password: 'alice-and-her:password' };
const BOB = { name: 'bob', password: 'bob-has-another' };
const CI_TOKEN = 'ci-token-0123456789abcdef';
const MANIFEST = '/v2/library/plain/manifests/latest';
const [LAYER] = PLAIN.image.layers;
const BLOB = `/v2/library/plain/blobs/${LAYER?.digest}`;

interface TestAccounts {
  readonly app: TestApp;
  readonly htpasswd: string;
  readonly tokens: string;
  /** At the address for accounts. */
  readonly ask: (
    target: string,
    headers?: RawRequest['headers'],
    request?: Partial<RawRequest>,
  ) => Promise<RawResponse>;
}

async function withAccounts(options: Partial<TestAppOptions> = {}): Promise<TestAccounts> {
  const folder = await testFolder();
  const htpasswd = await accountsFile(folder, 'htpasswd', htpasswdLine(ALICE) + htpasswdLine(BOB));
  const tokens = await accountsFile(folder, 'tokens', `ci:${CI_TOKEN}\n`);
  const flags = { authListen: '127.0.0.1:0', htpasswdFile: htpasswd, tokensFile: tokens, ...options.flags };
  const app = await startTestApp({ hub: await filledHub(), ...options, flags });
  const ask: TestAccounts['ask'] = (target, headers = [], request = {}) =>
    rawRequest({ origin: app.authUrl, target, headers, ...request });
  return { app, htpasswd, tokens, ask };
}

const codeOf = ({ body }: RawResponse): unknown =>
  (JSON.parse(body.toString()) as { errors: readonly [{ code: unknown }] }).errors[0].code;

describe('the address for accounts', () => {
  it('asks for credentials before it says anything, in the way that clients know', async () => {
    const { ask } = await withAccounts();
    for (const target of [
      '/v2/',
      MANIFEST,
      BLOB,
      '/v2/_catalog',
      '/v2/library/plain/tags/list',
      '/v2/nowhere',
    ]) {
      const answer = await ask(target);
      expect(answer.status, target).toBe(401);
      expect(answer.header('www-authenticate')).toBe('Basic realm="pierhead"');
      expect(answer.header('docker-distribution-api-version')).toBe('registry/2.0');
      expect(answer.header('cache-control')).toBe('no-store');
      expect(codeOf(answer)).toBe('UNAUTHORIZED');
    }
  });

  it('serves whoever shows a password, a token, or a token as a password', async () => {
    const { ask, app } = await withAccounts();
    const shown = [basic(ALICE), basic(BOB), bearer(CI_TOKEN), basic({ name: 'ci', password: CI_TOKEN })];
    for (const headers of shown) {
      expect((await ask('/v2/', headers)).status).toBe(200);
      expect((await ask(MANIFEST, headers)).body.equals(PLAIN.image.root.bytes)).toBe(true);
      expect((await ask(BLOB, headers)).complete).toBe(true);
    }
    await eventually(() => app.log.filter(({ msg }) => msg === 'request').length === 12, 'all log lines');
    const named = app.log.filter(({ msg }) => msg === 'request').map(({ account }) => String(account));
    expect(named.sort()).toEqual(['alice', 'alice', 'alice', 'bob', 'bob', 'bob', ...Array(6).fill('ci')]);
  });

  it.each([
    ['a wrong password', basic({ ...ALICE, password: 'alice-and-her' })],
    ['the password of somebody else', basic({ ...ALICE, password: BOB.password })],
    ['a name that is none', basic({ name: 'mallory', password: ALICE.password })],
    ['an empty password', basic({ ...ALICE, password: '' })],
    ['a wrong token', bearer(`${CI_TOKEN}0`)],
    ['a password as a token', bearer('bob-has-another')],
    ['a token under the name of somebody else', basic({ name: 'alice', password: CI_TOKEN })],
    ['a hash for a password', basic({ name: 'alice', password: htpasswdLine(ALICE).slice(6, -1) })],
    ['nonsense', [['Authorization', 'Basic ????']]],
    ['another scheme', [['Authorization', 'Digest username="alice"']]],
  ] as const)('refuses %s', async (_what, headers) => {
    const { ask } = await withAccounts();
    for (const target of ['/v2/', MANIFEST]) expect((await ask(target, headers)).status).toBe(401);
  });

  it('is healthy to whoever asks', async () => {
    const { ask } = await withAccounts();
    expect((await ask('/healthz')).status).toBe(200);
    expect((await ask('/readyz')).status).toBe(200);
  });

  it('serves only its own networks', async () => {
    const { ask, app } = await withAccounts({ flags: { authNetworks: '10.0.0.0/8' } });
    const answer = await ask('/v2/', basic(ALICE));
    expect(answer.status).toBe(403);
    expect(answer.body.toString()).toContain('authNetworks');
    expect((await app.get('/v2/')).status).toBe(200);
  });
});

describe('the address for mirrors', () => {
  it('never challenges and looks at no credentials, whatever comes', async () => {
    const { app } = await withAccounts();
    for (const headers of [[], basic({ name: 'nobody', password: 'wrong' }), bearer('wrong')]) {
      for (const target of ['/v2/', MANIFEST, BLOB, '/v2/_catalog']) {
        const answer = await app.get(target, { headers });
        expect(answer.status, target).toBe(200);
        expect(answer.header('www-authenticate')).toBeUndefined();
      }
    }
  });
});

describe('what an account may pull', () => {
  const yaml = `accounts:
- name: alice
  allow: [docker.io/library/pl*]
- name: bob
  allow: ['**']
- name: '*'
  allow: [docker.io/library/golang]
`;
  const seen = async (ask: TestAccounts['ask'], headers: RawRequest['headers']): Promise<string[]> => {
    const { body } = await ask('/v2/_catalog', headers);
    return (JSON.parse(body.toString()) as { repositories: string[] }).repositories;
  };

  it('is what the patterns for it say, and nothing besides', async () => {
    const { ask } = await withAccounts({ yaml });
    const golang = '/v2/library/golang/manifests/latest';
    const referrers = `/v2/library/golang/referrers/${GOLANG.image.root.digest}`;
    expect((await ask(MANIFEST, basic(ALICE))).status).toBe(200);
    for (const target of [golang, '/v2/golang/manifests/latest', '/v2/library/golang/tags/list', referrers]) {
      const answer = await ask(target, basic(ALICE));
      expect(answer.status, target).toBe(403);
      expect(codeOf(answer)).toBe('DENIED');
    }
    expect((await ask(golang, basic(BOB))).status).toBe(200);
    expect((await ask(golang, bearer(CI_TOKEN))).status).toBe(200);
    expect((await ask(MANIFEST, bearer(CI_TOKEN))).status).toBe(403);
  });

  it('is nothing where patterns are for others only', async () => {
    const { ask } = await withAccounts({ yaml: 'accounts:\n- name: alice\n  allow: ["**"]\n' });
    expect((await ask(MANIFEST, basic(ALICE))).status).toBe(200);
    expect((await ask(MANIFEST, basic(BOB))).status).toBe(403);
    expect(await seen(ask, basic(BOB))).toEqual([]);
  });

  it('decides what it sees in the catalogue, page by page', async () => {
    const { ask, app } = await withAccounts({ yaml });
    for (const name of ['golang', 'plain']) await app.get(`/v2/library/${name}/manifests/latest`);
    expect(await seen(ask, basic(BOB))).toEqual(['docker.io/library/golang', 'docker.io/library/plain']);
    expect(await seen(ask, basic(ALICE))).toEqual(['docker.io/library/plain']);
    expect(await seen(ask, bearer(CI_TOKEN))).toEqual(['docker.io/library/golang']);
    const page = await ask('/v2/_catalog?n=1', basic(ALICE));
    expect(page.body.toString()).toContain('docker.io/library/plain');
    expect(page.header('link')).toBeUndefined();
  });

  it('does not reach a cached blob of one repository through another', async () => {
    const { ask, app } = await withAccounts({ yaml });
    const secret = GOLANG.image.images.get('linux/amd64')?.layers[0]?.digest;
    expect((await app.get(`/v2/library/golang/manifests/latest`)).status).toBe(200);
    expect((await app.get(`/v2/library/golang/blobs/${secret}`)).status).toBe(200);
    // It knows the digest, and may pull from a repository that does not have it.
    expect((await ask(`/v2/library/golang/blobs/${secret}`, basic(ALICE))).status).toBe(403);
    for (const method of ['GET', 'HEAD']) {
      expect((await ask(`/v2/library/plain/blobs/${secret}`, basic(ALICE), { method })).status).toBe(404);
    }
    const digest = GOLANG.image.root.digest;
    expect((await ask(`/v2/library/plain/manifests/${digest}`, basic(ALICE))).status).toBe(404);
  });
});

describe('files of accounts', () => {
  it('count from their next state on, and one that is broken changes nothing', async () => {
    const { ask, app, htpasswd, tokens } = await withAccounts();
    expect((await ask('/v2/', basic(ALICE))).status).toBe(200);
    // As configuration tools write files: another one takes the place.
    await writeFile(`${htpasswd}.new`, htpasswdLine(BOB) + htpasswdLine({ name: 'eve', password: 'eve' }));
    await rename(`${htpasswd}.new`, htpasswd);
    await eventually(async () => (await ask('/v2/', basic(ALICE))).status === 401, 'alice to be out');
    expect((await ask('/v2/', basic({ name: 'eve', password: 'eve' }))).status).toBe(200);

    await writeFile(tokens, 'ci:short\n');
    const line = await eventually(
      () => app.log.find(({ msg, setting }) => msg === 'file not usable' && setting === 'tokensFile'),
      'word of the broken file',
    );
    expect(line['reason']).toContain('line 1 of the tokens file');
    expect(JSON.stringify(app.log)).not.toContain('ci:short');
    expect((await ask('/v2/', bearer(CI_TOKEN))).status).toBe(200);

    await writeFile(tokens, `ci:${CI_TOKEN}-of-tomorrow\n`);
    await eventually(
      async () => (await ask('/v2/', bearer(CI_TOKEN))).status === 401,
      'the old token to be out',
    );
    expect((await ask('/v2/', bearer(`${CI_TOKEN}-of-tomorrow`))).status).toBe(200);
  });

  it('that are gone are told of, and hold until they are back', async () => {
    const { ask, app, htpasswd, tokens } = await withAccounts();
    for (const file of [htpasswd, tokens]) await rename(file, `${file}.away`);
    for (const setting of ['htpasswdFile', 'tokensFile']) {
      await eventually(
        () => app.log.some((line) => line['msg'] === 'file not usable' && line['setting'] === setting),
        `word of ${setting}`,
      );
    }
    for (const headers of [basic(ALICE), bearer(CI_TOKEN)]) {
      expect((await ask('/v2/', headers)).status).toBe(200);
    }
    await writeFile(htpasswd, htpasswdLine(BOB));
    await eventually(async () => (await ask('/v2/', basic(ALICE))).status === 401, 'alice to be out');
    expect((await ask('/v2/', basic(BOB))).status).toBe(200);
  });

  it('that are broken at the start keep the server from starting', async () => {
    const folder = await testFolder();
    const md5 = await accountsFile(folder, 'htpasswd', 'alice:$apr1$abcdefgh$0123456789abcdefghijkl\n');
    await expect(withAccounts({ flags: { htpasswdFile: md5 } })).rejects.toMatchObject({
      code: 'file-invalid',
      message: expect.stringContaining('line 1 of the htpasswd file') as unknown,
    });
  });
});

describe('many wrong passwords', () => {
  it('of one client wait for their turn in small numbers, and hold up nobody who is known', async () => {
    const folder = await testFolder();
    const slow = await accountsFile(folder, 'slow', htpasswdLine(ALICE, 11));
    const { ask, app } = await withAccounts({ flags: { htpasswdFile: slow } });
    expect((await ask('/v2/', basic(ALICE))).status).toBe(200);
    const guesses = Array.from({ length: 24 }, (_, at) =>
      ask('/v2/', basic({ name: 'alice', password: `guess ${at}` })),
    );
    // Answered while the guesses are being checked: by memory, by token, and where no account is asked for.
    expect((await ask('/v2/', basic(ALICE))).status).toBe(200);
    expect((await ask('/v2/', bearer(CI_TOKEN))).status).toBe(200);
    expect((await app.get('/v2/')).status).toBe(200);
    const answers = await Promise.all(guesses);
    const busy = answers.filter(({ status }) => status === 503);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401, 503]));
    expect(busy.length).toBeGreaterThan(12);
    for (const answer of busy) expect(answer.header('retry-after')).toBe('1');
  });

  it('are as much work under names that do not exist, so that nobody learns which do', async () => {
    const folder = await testFolder();
    const slow = await accountsFile(folder, 'slow', htpasswdLine(ALICE, 11));
    const { ask } = await withAccounts({ flags: { htpasswdFile: slow } });
    const guesses = Array.from({ length: 24 }, (_, at) =>
      ask('/v2/', basic({ name: `nobody-${at}`, password: ALICE.password })),
    );
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([401, 503]));
    expect(statuses.filter((status) => status === 503).length).toBeGreaterThan(12);
  });
});
