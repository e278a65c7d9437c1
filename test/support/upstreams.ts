import { startFakeHub, type Addition } from '../fake/hub.ts';
import { pushImage } from '../fixtures/push.ts';
import { REGISTRY_USER, startDockerRegistry } from './docker-registry.ts';
import { secretsOf } from './secrets.ts';
import { tempFolder } from './temp.ts';

/** What Pierhead stands in front of, for tests that must hold with any registry. */
export interface TestUpstream {
  readonly url: string;
  /** Every violation so far, in words. */
  violations(): readonly string[];
  /** Passwords, tokens and signatures that were used with it. */
  secrets(): readonly string[];
  /** Switches it off: connecting is refused from now on. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

/** A kind of registry. Repositories with `readers` can be had by `REGISTRY_USER` only. */
export interface UpstreamKind {
  readonly name: string;
  start(content: readonly Addition[]): Promise<TestUpstream>;
}

/** The kinds to run a suite with. */
export const UPSTREAMS: readonly UpstreamKind[] = [
  { name: 'the stand-in for Docker Hub', start: startHub },
  { name: 'a docker-registry', start: startRegistry },
];

async function startHub(content: readonly Addition[]): Promise<TestUpstream> {
  const users = { [REGISTRY_USER.name]: REGISTRY_USER.password };
  const hub = await startFakeHub({ users });
  for (const addition of content) hub.add(addition);
  return {
    url: hub.url,
    violations: () =>
      hub.violations.map(({ reason, request }) => `${reason}: ${request.method} ${request.path}`),
    secrets: () => [...Object.values(users), ...secretsOf(hub.requests)],
    stop: () => hub.stop(),
    close: () => hub.close(),
  };
}

/** A docker-registry that wants credentials wants them for everything, so it is filled by one that does not. */
async function startRegistry(content: readonly Addition[]): Promise<TestUpstream> {
  const folder = await tempFolder();
  const storagePath = folder.path;
  const writable = await startDockerRegistry({ storagePath });
  for (const { repository, tags = [], image } of content) {
    for (const tag of tags) await pushImage({ baseUrl: writable.url, repository, tag }, image);
  }
  await writable.close();
  const auth = content.some(({ readers }) => readers !== undefined) ? 'basic' : 'none';
  const registry = await startDockerRegistry({ storagePath, auth });
  const basic = Buffer.from(`${REGISTRY_USER.name}:${REGISTRY_USER.password}`).toString('base64');
  return {
    url: registry.url,
    violations: () => [],
    secrets: () => [REGISTRY_USER.password, basic],
    stop: () => registry.stop(),
    async close() {
      await registry.close();
      await folder.remove();
    },
  };
}
