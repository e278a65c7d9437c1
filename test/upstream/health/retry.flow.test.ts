import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import type { SharedPullLimits } from '../../../src/oci/pull-limit.ts';
import type { Upstream } from '../../../src/upstream/upstream.ts';
import { bytesContent } from '../../fake/content.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { matches, type RequestFilter } from '../../fake/log.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import { startRelay } from '../../support/relay.ts';
import {
  ANYBODY,
  CONFIGURED,
  hubAndUpstream,
  readBody,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';
import { eventually } from '../../support/wait.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const { digest } = GOLANG.image.root;
const BLOB = bytesContent(Buffer.from('a layer'));
const GET: RequestFilter = { kind: 'manifest', method: 'GET' };

/** Each kind of question, and which of the requests for it gets lost. */
const QUESTIONS: readonly (readonly [string, RequestFilter, (upstream: Upstream) => Promise<unknown>])[] = [
  [
    'a manifest',
    GET,
    async (upstream) => {
      const { bytes } = valueOf(await upstream.getManifest(repository, LATEST, ANYBODY));
      expect(digestOf(bytes)).toBe(digest);
    },
  ],
  [
    'what a tag names',
    { kind: 'manifest', method: 'HEAD' },
    async (upstream) => valueOf(await upstream.headManifest(repository, LATEST, ANYBODY)),
  ],
  [
    'a blob, where the registry redirects',
    { kind: 'blob', host: 'registry' },
    async (upstream) => {
      const stream = valueOf(await upstream.getBlob(repository, BLOB.digest, { ...ANYBODY, offset: 0 }));
      expect(digestOf((await readBody(stream)).bytes)).toBe(BLOB.digest);
    },
  ],
  [
    'a blob, where it is',
    { kind: 'blob', host: 'blobs' },
    async (upstream) => {
      const stream = valueOf(await upstream.getBlob(repository, BLOB.digest, { ...ANYBODY, offset: 0 }));
      expect(digestOf((await readBody(stream)).bytes)).toBe(BLOB.digest);
    },
  ],
  [
    'a token',
    { kind: 'token' },
    async (upstream) => valueOf(await upstream.headManifest('library/plain', LATEST, ANYBODY)),
  ],
  [
    'a list of tags',
    { kind: 'tags' },
    async (upstream) => valueOf(await upstream.listTags(repository, {}, ANYBODY)),
  ],
];

/** How often, not counting the probe of a token service, which asks for nothing. */
function requestsFor(hub: FakeHub, filter: RequestFilter): number {
  const all = hub.requests.filter((request) => matches(request, filter));
  return all.filter(({ kind, query }) => kind !== 'token' || query.has('scope')).length;
}

/** A client with several idle connections to a registry, which lead through a relay. */
async function idleConnections() {
  const hub = await filledHub();
  const relay = await startRelay(new URL(hub.url).host);
  const { upstream } = watchedUpstream(`http://${relay.host}`);
  const askMany = () =>
    Promise.all([1, 2, 3, 4].map(() => upstream.headManifest(repository, LATEST, ANYBODY)));
  for (const outcome of [...(await askMany()), ...(await askMany())]) valueOf(outcome);
  return { relay, upstream };
}

describe('a request that gets lost', () => {
  it(
    'is sent once more to a server that answers others, whatever was asked for',
    { timeout: 60_000 },
    async () => {
      const lost = QUESTIONS.map(async ([what, match, ask]) => {
        const { hub, upstream } = await hubAndUpstream();
        hub.addBlob(repository, BLOB);
        valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
        hub.reset();
        const fault = hub.fault({ match, times: 1, do: { hang: true } });
        await ask(upstream);
        expect([what, fault.hits, requestsFor(hub, match)]).toEqual([what, 1, 2]);
      });
      await Promise.all(lost);
    },
  );

  it('is waited for all the same, and counts if it is answered first', { timeout: 60_000 }, async () => {
    const { hub, upstream } = await hubAndUpstream({}, { headersTimeoutMs: 30_000 });
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    hub.reset();
    const slow = hub.fault({ match: GET, times: 1, do: { holdHeaders: true } });
    const lost = hub.fault({ match: GET, do: { hang: true } });
    const asked = upstream.getManifest(repository, LATEST, ANYBODY);
    await eventually(() => lost.hits === 1, 'the second request');
    slow.release();
    expect(digestOf(valueOf(await asked).bytes)).toBe(digest);
    expect(hub.count(GET)).toBe(2);
    // Nobody waits for the other one any more, and its connection is of no use.
    await eventually(() => hub.requests.every(({ closed }) => closed), 'the end of the lost request');
  });

  it('comes by a new connection where a firewall has forgotten all others', { timeout: 60_000 }, async () => {
    const { relay, upstream } = await idleConnections();
    relay.forget();
    expect(digestOf(valueOf(await upstream.getManifest(repository, LATEST, ANYBODY)).bytes)).toBe(digest);
  });

  it('comes by a new connection where a balancer resets all others', async () => {
    const { relay, upstream } = await idleConnections();
    relay.takeOver();
    expect(digestOf(valueOf(await upstream.getManifest(repository, LATEST, ANYBODY)).bytes)).toBe(digest);
  });

  it('is not sent again to a server that answers nothing', { timeout: 60_000 }, async () => {
    const { hub, upstream } = await hubAndUpstream({}, { headersTimeoutMs: 5000 });
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    hub.reset();
    hub.fault({ do: { hang: true } });
    expect(await upstream.getManifest(repository, LATEST, ANYBODY)).toMatchObject({ cause: 'timeout' });
    expect(hub.count(GET)).toBe(1);
  });

  it('is a second pull, if it was one', { timeout: 60_000 }, async () => {
    const spent: number[] = [];
    const sharedPullLimits: SharedPullLimits = {
      load: () => Promise.resolve(undefined),
      publish: (_key, news) => void (news.kind === 'spent' && spent.push(news.pulls)),
      subscribe: () => undefined,
    };
    const { hub, upstream } = await hubAndUpstream(
      { pulls: { limit: 100, remaining: 50, windowSeconds: 21_600 } },
      { sharedPullLimits },
    );
    valueOf(await upstream.headManifest(repository, LATEST, CONFIGURED));
    hub.fault({ match: GET, times: 1, do: { hang: true } });
    valueOf(await upstream.getManifest(repository, LATEST, CONFIGURED));
    expect(spent).toEqual([1, 1]);
  });
});
