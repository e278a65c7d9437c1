import fc from 'fast-check';
import { afterEach, expect, it, vi } from 'vitest';
import { askOwner } from '../../../src/cli/control-client.ts';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { ManifestPuller } from '../../../src/mirror/manifest/manifests.ts';
import { OperationError } from '../../../src/operations/protocol.ts';
import { TieredStore } from '../../../src/store/manifest/tiers.ts';
import type { FakeHub } from '../../fake/hub.ts';
import type { ImageContent } from '../../fake/library.ts';
import { image, multiPlatform } from '../../fixtures/images.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { fuzz, FUZZ_TIMEOUT_MS } from '../../support/fuzz.ts';
import { unwatchedRun } from '../../support/operation-run.ts';
import { testFolder } from '../../support/temp.ts';

const IMAGES: readonly ImageContent[] = [
  GOLANG.image,
  PLAIN.image,
  multiPlatform({ message: 'renewed' }),
  multiPlatform({ message: 'docker', mediaTypes: 'docker' }),
  image({ message: 'oci' }),
];
const MANIFESTS = [...IMAGES.map((each) => each.root), ...GOLANG.image.manifests].map(({ digest }) => digest);
const REPOSITORIES = ['library/golang', 'carol/private'];
const TAGS = ['latest', 'v1'];
const LISTS = `${OCI_INDEX}, ${DOCKER_LIST}`;
const SINGLES = `${OCI_MANIFEST}, ${DOCKER_MANIFEST}`;
/** After which it is asked again whether a repository is public. */
const DAY_MS = 24 * 60 * 60 * 1000;
const NOW = Date.UTC(2024, 1, 1);

type Settings = Omit<TestAppOptions, 'hub' | 'yaml'> & { readonly yaml?: (hub: FakeHub) => string };

const asCarol = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
const SETTINGS: readonly Settings[] = [
  {},
  { env: asCarol, flags: { tagTtl: '1h,*:v1=never', deletedTags: 'keep' } },
  { env: { ...asCarol, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' }, flags: { failMode: 'strict' } },
  { yaml: ({ url }) => `upstreams: { docker.io: { url: '${url}', deny: ['carol/*', 'golang:v*'] } }` },
  {
    yaml: () =>
      'clients: [{ network: 10.2.0.0/16, platform: linux/arm64, resolve: always }, { network: 10.3.0.0/16, platform: linux/arm/v7 }]',
  },
];

const repository = fc.constantFrom(...REPOSITORIES);
const tag = fc.constantFrom(...TAGS);
const root = fc.constantFrom(...IMAGES.map((each) => each.root));

const request = fc.record({
  kind: fc.constant('request'),
  method: fc.constantFrom('GET', 'GET', 'HEAD'),
  repository,
  reference: fc.oneof({ weight: 3, arbitrary: tag }, fc.constantFrom(...MANIFESTS)),
  query: fc.constantFrom('', '', '', '?platform=linux/arm64', '?ns=docker.io', '?platform=plan9/amd64'),
  headers: fc
    .record(
      {
        Accept: fc.constantFrom('*/*', LISTS, SINGLES, `${LISTS}, ${SINGLES}`, 'text/html'),
        'User-Agent': fc.constantFrom('docker/27.0 os/linux arch/arm64', 'containerd/2.0'),
        'X-Forwarded-For': fc.constantFrom('10.1.0.1', '10.2.0.1', '10.3.0.1', '192.0.2.1'),
        'If-None-Match': fc.constantFrom('*', ...MANIFESTS.map((digest) => `"${digest}"`)),
      },
      { requiredKeys: [] },
    )
    .map(Object.entries<string>),
});

const event = fc.oneof(
  fc.record({ kind: fc.constant('move'), repository, tag, root }),
  fc.record({ kind: fc.constant('delete'), repository, tag }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('readers'),
      repository,
      readers: fc.constantFrom(undefined, ['carol'], ['dave']),
      ms: fc.constantFrom(0, DAY_MS),
    }),
  },
  fc.record({
    kind: fc.constant('time'),
    ms: fc.constantFrom(1000, 30_000, 59_999, 60_001, 3_600_001, DAY_MS, -300_000),
  }),
  fc.record({
    kind: fc.constant('order'),
    name: fc.constantFrom('remove', 'pin', 'unpin', 'refresh'),
    repository,
    tag,
  }),
  fc.record({
    kind: fc.constant('fault'),
    action: fc.constantFrom(
      { status: { code: 500 } },
      { abuseLimit: {} },
      { wrongDigestHeader: true as const },
      { noDigestHeader: true as const },
      { html: true as const },
    ),
  }),
  fc.record({
    kind: fc.constant('wrong type'),
    root,
    type: fc.constantFrom(...[LISTS, SINGLES].flatMap((types) => types.split(', ')), 'application/json'),
  }),
  fc.record({ kind: fc.constant('well again') }),
  fc.record({ kind: fc.constantFrom('down', 'up', 'up', 'up', 'up', 'restart') }),
);
const steps = fc.array(fc.oneof({ weight: 9, arbitrary: request }, event), {
  minLength: 100,
  maxLength: 100,
});
type Request = Generated<typeof request>;
type Event = Generated<typeof event>;
type Generated<A> = A extends fc.Arbitrary<infer T> ? T : never;

afterEach(() => void vi.restoreAllMocks());

it(
  'what is answered at once is what is answered after a wait at each step, whatever has happened before',
  async () => {
    const way = watchedWay();
    let compared = 0;
    const property = fc.asyncProperty(fc.constantFrom(...SETTINGS), steps, async (settings, events) => {
      const history = await History.begin(settings);
      for (const each of events) {
        if (each.kind !== 'request') {
          await history.take(each);
          continue;
        }
        const short = await way.during('short', () => history.ask(each));
        if (!short.wasShort) continue;
        const long = await way.during('long', () => history.ask(each));
        // What was read ahead may have found out meanwhile that upstream is gone.
        if (long.inOutage && !short.inOutage) continue;
        expect(short.answer).toEqual(long.answer);
        compared++;
      }
      await history.end();
    });
    // Histories take their time to be made shorter.
    await fc.assert(property, { ...fuzz(16), interruptAfterTimeLimit: FUZZ_TIMEOUT_MS / 2 });
    // Hundreds mostly; how many is left to chance.
    expect(compared).toBeGreaterThan(10);
  },
  FUZZ_TIMEOUT_MS,
);

/** Lets the store keep all waiting who ask it, as Redis would, and tells whether an answer came at once. */
function watchedWay() {
  let isSlow = false;
  let wasShort = false;
  let inOutage = false;
  for (const name of ['getManifest', 'getTag', 'getLink', 'getRepository'] as const) {
    const get = TieredStore.prototype[name] as (this: TieredStore, ...args: unknown[]) => unknown;
    vi.spyOn(TieredStore.prototype, name).mockImplementation(function (
      this: TieredStore,
      ...args: unknown[]
    ) {
      const known = get.apply(this, args) as undefined;
      return isSlow ? Promise.resolve(known) : known;
    });
  }
  const pull = Object.getOwnPropertyDescriptor(ManifestPuller.prototype, 'pull')
    ?.value as ManifestPuller['pull'];
  vi.spyOn(ManifestPuller.prototype, 'pull').mockImplementation(function (
    this: ManifestPuller,
    upstream,
    asked,
  ) {
    inOutage = upstream.outage(asked.repository.name) !== undefined;
    const answer = pull.call(this, upstream, asked);
    wasShort = !(answer instanceof Promise);
    return answer;
  });
  return {
    during: async <T>(way: 'short' | 'long', ask: () => Promise<T>) => {
      isSlow = way === 'long';
      wasShort = inOutage = false;
      const answer = await ask();
      isSlow = false;
      return { answer, wasShort, inOutage };
    },
  };
}

/** A mirror and its upstream, and what becomes of them. */
class History {
  readonly #hub: FakeHub;
  readonly #options: TestAppOptions;
  #now = NOW;
  #app: TestApp | undefined;

  private constructor(hub: FakeHub, { yaml, flags, ...others }: Settings, dataDir: string) {
    this.#hub = hub;
    this.#options = {
      hub,
      dataDir,
      now: () => this.#now,
      ...others,
      ...(yaml === undefined ? {} : { yaml: yaml(hub) }),
      flags: { backgroundChecks: '0', trustedProxies: '127.0.0.1', ...flags },
    };
  }

  static async begin(settings: Settings): Promise<History> {
    const hub = await filledHub();
    for (const name of REPOSITORIES) {
      for (const each of IMAGES) hub.add({ repository: name, tags: TAGS, image: each });
    }
    hub.setReaders('carol/private', ['carol']);
    const history = new History(hub, settings, await testFolder());
    await history.#start();
    return history;
  }

  async #start(): Promise<void> {
    this.#app = await startTestApp(this.#options);
  }

  async end(): Promise<void> {
    await this.#app?.stop();
    await this.#hub.close();
  }

  /** All of the answer but the time of day. */
  async ask({ method, repository: name, reference, query, headers }: Request) {
    const asked = this.#app?.begin(`/v2/${name}/manifests/${reference}${query}`, { method, headers });
    const answer = await asked?.finished();
    return {
      status: answer?.status,
      headers: new Set(answer?.headers.filter(([field]) => field !== 'Date').map((line) => line.join(': '))),
      body: answer?.body.toString(),
    };
  }

  async take(each: Event): Promise<void> {
    const hub = this.#hub;
    switch (each.kind) {
      case 'move':
        return hub.moveTag(each.repository, each.tag, each.root.digest);
      case 'delete':
        return hub.removeTag(each.repository, each.tag);
      case 'readers':
        this.#now += each.ms;
        hub.expireTokens();
        return hub.setReaders(each.repository, each.readers);
      case 'time':
        this.#now += each.ms;
        return;
      case 'order':
        return this.#order(each.name, `${each.repository}:${each.tag}`);
      case 'fault':
        hub.fault({ match: { kind: 'manifest' }, times: 3, do: each.action });
        return;
      case 'wrong type': {
        const { digest, bytes } = each.root;
        const headers = { 'content-type': each.type, 'docker-content-digest': digest };
        const action = { status: { code: 200, body: bytes, headers } };
        hub.fault({ match: { kind: 'manifest', method: 'HEAD' }, times: 3, do: action });
        return;
      }
      case 'well again':
        return hub.clearFaults();
      case 'down':
        return hub.stop();
      case 'up':
        return hub.start();
      case 'restart':
        await this.#app?.stop();
        return this.#start();
    }
  }

  async #order(name: 'remove' | 'pin' | 'unpin' | 'refresh', imageName: string): Promise<void> {
    const run = unwatchedRun();
    const order = { name, request: { image: imageName }, run };
    await askOwner(this.#options.dataDir ?? '', order).catch((error: unknown) => {
      if (!(error instanceof OperationError)) throw error;
    });
  }
}
