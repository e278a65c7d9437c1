import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { UpstreamOptions } from '../../../src/upstream/registry/client.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { basicAuth, bearer } from '../../support/hub-client.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually } from '../../support/wait.ts';
import {
  ANYBODY,
  CAROL,
  causeOf,
  CONFIGURED,
  hubAndUpstream,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';

const LATEST = { kind: 'tag', tag: 'latest' } as const;
const PRIVATE = 'carol/private';
const TOKEN = { host: 'token', kind: 'token' } as const;
const START_MS = 1_700_000_000_000;

/** Status and identity of each manifest request so far. */
function manifestRequests(hub: FakeHub): unknown[] {
  return hub.requests
    .filter(({ kind }) => kind === 'manifest')
    .map(({ status, identity }) => [status, identity]);
}

describe('a token', () => {
  test('is asked for after the first 401, and ahead of the first request to every later repository', async () => {
    const { hub, upstream } = await hubAndUpstream();
    valueOf(await upstream.headManifest(GOLANG.repository, LATEST, ANYBODY));
    valueOf(await upstream.headManifest(PLAIN.repository, LATEST, ANYBODY));
    expect(manifestRequests(hub)).toEqual([
      [401, undefined],
      [200, 'anonymous'],
      [200, 'anonymous'],
    ]);
    const asked = hub.requests.filter(({ kind }) => kind === 'token');
    expect(asked.map(({ method, query }) => [method, ...query.values()])).toEqual([
      ['GET', 'registry.docker.io', 'repository:library/golang:pull'],
      ['GET', 'registry.docker.io', 'repository:library/plain:pull'],
    ]);
  });

  test('is fetched once however many wait, and serves them all', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const asks = Array.from({ length: 20 }, () => upstream.headManifest(GOLANG.repository, LATEST, ANYBODY));
    expect(new Set((await Promise.all(asks)).map(({ kind }) => kind))).toEqual(new Set(['ok']));
    expect(hub.count(TOKEN)).toBe(1);
  });

  test('is not lost to the others when one who waits for it goes away', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const fault = hub.fault({ match: TOKEN, do: { holdHeaders: true } });
    const abort = new AbortController();
    const leaver = upstream.headManifest(GOLANG.repository, LATEST, { ...ANYBODY, signal: abort.signal });
    await fault.reached;
    const stayer = upstream.headManifest(GOLANG.repository, LATEST, ANYBODY);
    const reason = new Error('the client has gone');
    abort.abort(reason);
    await expect(leaver).rejects.toBe(reason);
    fault.release();
    expect((await stayer).kind).toBe('ok');
    expect(hub.count(TOKEN)).toBe(1);
  });

  test('that is late for who asked for it is asked for once more by those who came later', async () => {
    // Shorter than it takes to send a lost request a second time, and longer than until the service is probed.
    const { hub, upstream } = await hubAndUpstream({}, { headersTimeoutMs: 3900 });
    valueOf(await upstream.headManifest(PLAIN.repository, LATEST, ANYBODY));
    const tokens = hub.count(TOKEN);
    const probes = () => hub.requests.filter(({ kind, query }) => kind === 'token' && !query.has('scope'));
    const fault = hub.fault({ match: TOKEN, times: 1, do: { hang: true } });
    const first = upstream.headManifest(GOLANG.repository, LATEST, ANYBODY);
    await eventually(() => fault.hits === 1 && probes().length > 0, 'the service to be probed');
    const later = [
      upstream.headManifest(GOLANG.repository, LATEST, ANYBODY),
      upstream.getManifest(GOLANG.repository, LATEST, ANYBODY),
      upstream.listTags(GOLANG.repository, {}, ANYBODY),
    ];
    expect(causeOf(await first)).toMatch(/^timeout: /);
    for (const outcome of await Promise.all(later)) expect(outcome.kind).toBe('ok');
    expect(hub.count(TOKEN) - tokens - probes().length).toBe(2);
  });

  test('is used until shortly before it expires', async () => {
    const clock = { nowMs: START_MS };
    const now = (): number => clock.nowMs;
    const { hub, upstream } = await hubAndUpstream({ nowMs: now, tokenLifetimeSeconds: 300 }, { now });
    const ask = () => upstream.headManifest(GOLANG.repository, LATEST, ANYBODY);
    valueOf(await ask());
    clock.nowMs += 260_000;
    valueOf(await ask());
    expect(hub.count(TOKEN)).toBe(1);
    clock.nowMs += 20_000;
    valueOf(await ask());
    expect(hub.count(TOKEN)).toBe(2);
    expect(hub.requests.filter(({ status }) => status === 401).length).toBe(1);
  });

  test.each([
    ['no lifetime counts as 60 s', {}, 53_000, 55_000],
    ['a lifetime below 60 s counts as 60 s', { expires_in: 5 }, 53_000, 55_000],
    ['a lifetime that is no number counts as 60 s', { expires_in: '300' }, 53_000, 55_000],
    [
      'an age that can be true counts',
      { expires_in: 300, issued_at: '2023-11-14T22:11:40Z' },
      179_000,
      181_000,
    ],
    [
      'a day of age is a wrong clock',
      { expires_in: 300, issued_at: '2023-11-13T22:13:20Z' },
      269_000,
      271_000,
    ],
    [
      'a date in the future is a wrong clock',
      { expires_in: 300, issued_at: '2023-11-15T00:00:00Z' },
      269_000,
      271_000,
    ],
  ])('with %s', async (_what, fields, usableMs, overMs) => {
    const clock = { nowMs: START_MS };
    const { hub, upstream } = await hubAndUpstream({}, { now: () => clock.nowMs });
    const token = (await bearer(hub, { repository: GOLANG.repository })).slice('Bearer '.length);
    hub.reset();
    const body = JSON.stringify({ access_token: token, ...fields });
    hub.fault({ match: TOKEN, do: { status: { code: 200, body } } });
    const ask = () => upstream.headManifest(GOLANG.repository, LATEST, ANYBODY);
    valueOf(await ask());
    clock.nowMs = START_MS + usableMs;
    valueOf(await ask());
    expect(hub.count(TOKEN)).toBe(1);
    clock.nowMs = START_MS + overMs;
    valueOf(await ask());
    expect(hub.count(TOKEN)).toBe(2);
  });

  test('that the registry no longer takes is replaced, and the request sent again', async () => {
    const { hub, upstream } = await hubAndUpstream();
    valueOf(await upstream.headManifest(GOLANG.repository, LATEST, ANYBODY));
    hub.expireTokens();
    hub.reset();
    valueOf(await upstream.headManifest(GOLANG.repository, LATEST, ANYBODY));
    expect(manifestRequests(hub)).toEqual([
      [401, undefined],
      [200, 'anonymous'],
    ]);
    expect(hub.count(TOKEN)).toBe(1);
  });

  test('that is fresh and not taken either means that the repository is refused', async () => {
    const { hub, upstream } = await hubAndUpstream();
    valueOf(await upstream.headManifest(GOLANG.repository, LATEST, ANYBODY));
    hub.reset();
    const refused = { kind: 'refused', status: 401 };
    expect(await upstream.getManifest(PRIVATE, LATEST, ANYBODY)).toEqual(refused);
    expect([hub.count(TOKEN), hub.count({ kind: 'manifest' })]).toEqual([1, 1]);
    // Now there is one in the cache, which may be of a time when the repository was not public yet.
    expect(await upstream.getManifest(PRIVATE, LATEST, ANYBODY)).toEqual(refused);
    expect([hub.count(TOKEN), hub.count({ kind: 'manifest' })]).toEqual([2, 3]);
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 403 } } });
    expect(await upstream.getManifest(PRIVATE, LATEST, ANYBODY)).toEqual({ kind: 'refused', status: 403 });
  });
});

describe('credentials', () => {
  test('get what is private for who has them, and stay out of what is asked anonymously', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { credentials: CAROL });
    expect(upstream.hasCredentials).toBe(true);
    expect((await upstream.getManifest(PRIVATE, LATEST, CONFIGURED)).kind).toBe('ok');
    expect((await upstream.getManifest(PRIVATE, LATEST, ANYBODY)).kind).toBe('refused');
    expect((await upstream.getManifest(PRIVATE, LATEST, CONFIGURED)).kind).toBe('ok');
    const asked = hub.requests.filter(({ kind }) => kind === 'token');
    const basic = basicAuth(CAROL.username, CAROL.password);
    const sent = asked.map(({ headers }) => headers.authorization);
    expect(sent).toHaveLength(2);
    expect(new Set(sent)).toEqual(new Set([basic, undefined]));
  });

  test('are not needed by one who is configured without any', async () => {
    const { upstream } = await hubAndUpstream();
    expect(upstream.hasCredentials).toBe(false);
    expect((await upstream.getManifest(GOLANG.repository, LATEST, CONFIGURED)).kind).toBe('ok');
  });

  test('that the token service rejects are the trouble, not the repository', async () => {
    const { hub, upstream } = await hubAndUpstream(
      {},
      { credentials: { username: 'carol', password: 'wrong' } },
    );
    const rejected = `credentials: the token service at ${hub.tokenUrl}/token rejects the configured credentials`;
    expect(causeOf(await upstream.getManifest(PRIVATE, LATEST, CONFIGURED))).toBe(rejected);
    for (const code of [400, 403]) {
      const fault = hub.fault({ match: TOKEN, do: { status: { code } } });
      expect(causeOf(await upstream.getManifest(PRIVATE, LATEST, CONFIGURED))).toBe(rejected);
      expect(await upstream.getManifest(PRIVATE, LATEST, ANYBODY)).toEqual({ kind: 'refused', status: code });
      fault.remove();
    }
  });

  test('are read from their file when they are used, so that it can change', async () => {
    const passwordFile = join(await testFolder(), 'password');
    const { hub, upstream } = await hubAndUpstream({}, { credentials: { username: 'carol', passwordFile } });
    const ask = () => upstream.getManifest(PRIVATE, LATEST, CONFIGURED);
    expect(causeOf(await ask())).toBe(`credentials: cannot read the credentials in ${passwordFile}`);
    await writeFile(passwordFile, '\n');
    expect(causeOf(await ask())).toBe(`credentials: ${passwordFile} does not hold one line of text`);
    await writeFile(passwordFile, 'wrong\n');
    expect(causeOf(await ask())).toContain('rejects the configured credentials');
    await writeFile(passwordFile, `  ${CAROL.password}\r\n`);
    expect((await ask()).kind).toBe('ok');
    expect(hub.violations).toEqual([]);
  });

  test('may be a ready-made token, which goes to the registry as it is and nowhere else', async () => {
    const { hub } = await hubAndUpstream();
    const tokenFile = join(await testFolder(), 'token');
    const authorization = await bearer(hub, {
      repository: PRIVATE,
      user: CAROL.username,
      password: CAROL.password,
    });
    await writeFile(tokenFile, `${authorization.slice('Bearer '.length)}\n`);
    hub.reset();
    const { upstream } = watchedUpstream(hub.url, { credentials: { tokenFile } });
    expect((await upstream.getManifest(PRIVATE, LATEST, CONFIGURED)).kind).toBe('ok');
    expect(hub.count(TOKEN)).toBe(0);
    expect((await upstream.getManifest(PRIVATE, LATEST, ANYBODY)).kind).toBe('refused');
    const other = await upstream.getManifest(GOLANG.repository, LATEST, CONFIGURED);
    expect(other).toEqual({ kind: 'refused', status: 401 });
    hub.expireTokens();
    expect(causeOf(await upstream.getManifest(PRIVATE, LATEST, CONFIGURED))).toBe(
      `credentials: ${hub.host} rejects the configured credentials`,
    );
  });
});

describe('a registry that asks for a password itself', () => {
  const basic = (options: Partial<UpstreamOptions> = {}) => hubAndUpstream({ auth: 'basic' }, options);

  test('gets it, after the first 401 at once', async () => {
    const { hub, upstream } = await basic({ credentials: CAROL });
    expect((await upstream.getManifest(PRIVATE, LATEST, CONFIGURED)).kind).toBe('ok');
    expect((await upstream.getManifest(PLAIN.repository, LATEST, CONFIGURED)).kind).toBe('ok');
    expect(manifestRequests(hub)).toEqual([
      [401, undefined],
      [200, 'carol'],
      [200, 'carol'],
    ]);
  });

  test('refuses who has none', async () => {
    const { hub, upstream } = await basic();
    for (const identity of [ANYBODY, CONFIGURED, ANYBODY]) {
      const outcome = await upstream.getManifest(PLAIN.repository, LATEST, identity);
      expect(outcome).toEqual({ kind: 'refused', status: 401 });
    }
    expect(hub.requests.length).toBe(3);
  });

  test('refuses by 403 what the user may not see, and by 401 the password itself', async () => {
    const { hub, upstream } = await basic({ credentials: { username: 'dave', password: 'other' } });
    expect(await upstream.getManifest(PRIVATE, LATEST, CONFIGURED)).toEqual({ kind: 'refused', status: 403 });
    const wrong = watchedUpstream(hub.url, { credentials: { username: 'dave', password: 'wrong' } });
    for (const repository of [PRIVATE, PLAIN.repository]) {
      expect(causeOf(await wrong.upstream.getManifest(repository, LATEST, CONFIGURED))).toBe(
        `credentials: ${hub.host} rejects the configured credentials`,
      );
    }
  });
});

describe('a challenge', () => {
  const challenged = async (challenge: string) => {
    const { hub, upstream } = await hubAndUpstream({}, { credentials: CAROL });
    const headers = { 'www-authenticate': challenge.replaceAll('TOKEN', `${hub.tokenUrl}/token`) };
    hub.fault({ match: { kind: 'manifest' }, times: 1, do: { status: { code: 401, headers } } });
    const outcome = await upstream.headManifest(GOLANG.repository, LATEST, CONFIGURED);
    return { hub, outcome };
  };
  const scopes = (hub: FakeHub) =>
    hub.requests.filter(({ kind }) => kind === 'token').map(({ query }) => query.get('scope'));

  test('may come with others, of which Bearer is taken', async () => {
    const { outcome } = await challenged('Negotiate, Basic realm="x", bearer REALM="TOKEN?a=b", service="s"');
    expect(outcome.kind).toBe('ok');
  });

  test.each([
    'repository:library/golang:pull,push',
    'repository:library/plain:pull',
    'repository:library/golang',
    '*',
  ])('is not followed to the scope %j', async (scope) => {
    const { hub, outcome } = await challenged(`Bearer realm="TOKEN",scope="${scope}"`);
    expect(outcome.kind).toBe('ok');
    expect(scopes(hub)).toEqual(['repository:library/golang:pull']);
  });

  test('is followed to the class of this repository', async () => {
    const scope = 'repository(plugin):library/golang:pull';
    const { hub } = await challenged(`Bearer realm="TOKEN",scope="repository:other:pull ${scope}"`);
    expect(scopes(hub)).toContain(scope);
  });

  test.each(['Bearer service="x"', 'Bearer realm="/token"', 'Bearer realm="ftp://x/"'])(
    'of %j names nobody who can be asked',
    async (challenge) => {
      const { hub, outcome } = await challenged(challenge);
      expect(causeOf(outcome)).toMatch(/^not-a-registry: .* token service/);
      expect(hub.count(TOKEN)).toBe(0);
    },
  );

  test('of a scheme that is not known, or none at all, means that the repository is refused', async () => {
    for (const challenge of ['Digest realm="x"', '']) {
      expect((await challenged(challenge)).outcome).toEqual({ kind: 'refused', status: 401 });
    }
  });

  test('of another scheme than before is followed', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { credentials: CAROL });
    const headers = { 'www-authenticate': 'Basic realm="x"' };
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 401, headers } } });
    expect(causeOf(await upstream.headManifest(PRIVATE, LATEST, CONFIGURED))).toContain('credentials: ');
    fault.remove();
    expect((await upstream.headManifest(PRIVATE, LATEST, CONFIGURED)).kind).toBe('ok');
    // The stand-in rightly complains that it got a password, which it seemed to have asked for.
    hub.reset();
  });
});

describe('the token service', () => {
  const ask = async (
    fault: Parameters<FakeHub['fault']>[0]['do'],
    options: Partial<UpstreamOptions> = {},
  ) => {
    const { hub, upstream } = await hubAndUpstream({}, options);
    hub.fault({ match: TOKEN, do: fault });
    return { hub, outcome: await upstream.headManifest(GOLANG.repository, LATEST, ANYBODY) };
  };

  test.each([
    ['a page of HTML', { html: true } as const],
    ['something that is not JSON', { status: { code: 200, body: 'token' } }],
    ['JSON that is no object', { status: { code: 200, body: '"token"' } }],
    ['no token', { status: { code: 200, body: '{"token":""}' } }],
    ['a token that no header can hold', { status: { code: 200, body: '{"token":"a\\r\\nb: c"}' } }],
  ])('answers with %s', async (_what, fault) => {
    const { hub, outcome } = await ask(fault);
    expect(causeOf(outcome)).toBe(
      `not-a-registry: the token service at ${hub.tokenUrl}/token does not answer with a token`,
    );
  });

  test('answers with more than 64 KiB', async () => {
    const { hub, outcome } = await ask({ hugeBody: 10_000_000 });
    const host = new URL(hub.tokenUrl).host;
    expect(causeOf(outcome)).toBe(`not-a-registry: ${host} sent more than 65536 bytes`);
  });

  test('limits us', async () => {
    const { outcome } = await ask({ abuseLimit: { retryAfterSeconds: 30 } });
    expect(outcome).toEqual({ kind: 'limited', scope: 'abuse', retryAfterMs: 30_000 });
  });

  test('is out of order', async () => {
    const { hub, outcome } = await ask({ status: { code: 500 } });
    expect(causeOf(outcome)).toBe(`server-error: the token service at ${hub.tokenUrl}/token answered 500`);
  });

  test('does not exist', async () => {
    const { hub, outcome } = await ask({ status: { code: 404 } });
    expect(causeOf(outcome)).toBe(`not-a-registry: the token service at ${hub.tokenUrl}/token answered 404`);
  });

  test('is too slow', async () => {
    const { hub, outcome } = await ask({ hang: true }, { headersTimeoutMs: 3000 });
    expect(causeOf(outcome)).toBe(`timeout: ${new URL(hub.tokenUrl).host} did not answer within 3 s`);
  });

  test('may redirect, and does not take the password along to another host', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { credentials: CAROL });
    const elsewhere = `http://localhost:${new URL(hub.tokenUrl).port}/token?scope=repository:library/golang:pull`;
    hub.fault({ match: TOKEN, times: 1, do: { redirectTo: elsewhere } });
    valueOf(await upstream.headManifest(GOLANG.repository, LATEST, CONFIGURED));
    const asked = hub.requests.filter(({ kind }) => kind === 'token');
    expect(asked.map(({ headers }) => headers.authorization !== undefined)).toEqual([true, false]);
  });
});
