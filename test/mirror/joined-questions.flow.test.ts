import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../fake/hub.ts';
import type { RequestFilter } from '../fake/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { filledHub, GOLANG, PLAIN, served } from '../support/filled-hub.ts';
import type { RawResponse } from '../support/http.ts';
import { eventually } from '../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const { digest } = PLAIN.image.config;
const BLOB = `/v2/library/plain/blobs/${digest}`;
const LOGIN = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };

interface Question {
  readonly lost: RequestFilter;
  readonly target: string;
  readonly method?: 'HEAD';
  readonly env?: Readonly<Record<string, string>>;
  readonly before?: (app: TestApp, hub: FakeHub) => Promise<unknown>;
}

const QUESTIONS: readonly (readonly [string, Question])[] = [
  ['a manifest', { lost: { kind: 'manifest', method: 'GET' }, target: LATEST }],
  ['what a tag names', { lost: { kind: 'manifest', method: 'HEAD' }, target: LATEST, method: 'HEAD' }],
  [
    'the first answer of a fill',
    {
      lost: { kind: 'blob', host: 'blobs' },
      target: BLOB,
      before: (app) => app.get('/v2/library/plain/manifests/latest'),
    },
  ],
  [
    'a list of referrers',
    { lost: { kind: 'referrers' }, target: `/v2/library/golang/referrers/${GOLANG.image.root.digest}` },
  ],
  [
    'whether anybody may see a repository',
    { lost: { kind: 'manifest', method: 'HEAD' }, target: LATEST, env: LOGIN },
  ],
  [
    'whether a repository holds what is stored',
    {
      lost: { kind: 'blob', method: 'HEAD', host: 'registry' },
      target: `/v2/library/other/blobs/${digest}`,
      before: async (app, hub) => {
        hub.add({ ...PLAIN, repository: 'library/other' });
        await app.get(BLOB);
      },
    },
  ],
];

const isServed = (answer: RawResponse): boolean =>
  answer.status === 200 && answer.header('warning') === undefined;

describe('who joins a question whose time runs out', () => {
  // Shorter than it takes to send a lost request a second time.
  const flags = { headersTimeout: '2500ms' };

  it.each(QUESTIONS)(
    'asks once more, all of them by one request: %s',
    { timeout: 60_000 },
    async (_what, question) => {
      const { lost, target, method = 'GET', env = {}, before } = question;
      const hub = await filledHub();
      hub.setReferrers('library/golang', GOLANG.image.root.digest, []);
      const app = await startTestApp({ hub, flags, env });
      await app.get('/v2/library/plain/tags/list');
      await before?.(app, hub);
      hub.reset();
      const fault = hub.fault({ match: lost, times: 1, do: { hang: true } });
      const ask = () => app.get(target, { method });
      const first = ask();
      await eventually(() => fault.hits === 1, 'the request that gets lost');
      const joined = Array.from({ length: 20 }, ask);
      await app.caughtUp();
      expect(isServed(await first)).toBe(false);
      for (const answer of await Promise.all(joined)) expect(isServed(answer)).toBe(true);
      expect(served(hub, lost)).toBe(2);
    },
  );

  it('fails with those who asked again, if that is lost as well', { timeout: 60_000 }, async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/plain/tags/list');
    const match: RequestFilter = { kind: 'manifest', method: 'GET' };
    const fault = hub.fault({ match, do: { hang: true } });
    const first = app.get(LATEST);
    await eventually(() => fault.hits === 1, 'the request that gets lost');
    const joined = Array.from({ length: 20 }, () => app.get(LATEST));
    await app.caughtUp();
    for (const { status } of [await first, ...(await Promise.all(joined))]) expect(status).toBe(503);
    expect(fault.hits).toBe(2);
  });
});
