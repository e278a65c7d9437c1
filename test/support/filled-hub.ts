import { onTestFinished } from 'vitest';
import { startFakeHub, type FakeHub, type FakeHubOptions } from '../fake/hub.ts';
import { matches, type RequestFilter } from '../fake/log.ts';
import { golangFixture, plainFixture } from '../fixtures/images.ts';

export const GOLANG = { repository: 'library/golang', ...golangFixture() };
export const PLAIN = { repository: 'library/plain', ...plainFixture() };

/** A stand-in with two public repositories and `carol/private`, for carol alone; it closes with the running test. */
export async function filledHub(options: FakeHubOptions = {}): Promise<FakeHub> {
  const hub = await startFakeHub({ users: { carol: 'secret', dave: 'other' }, ...options });
  onTestFinished(() => hub.close());
  hub.add(GOLANG);
  hub.add(PLAIN);
  hub.add({ ...PLAIN, repository: 'carol/private', readers: ['carol'] });
  return hub;
}

export function manifestUrl(hub: FakeHub, repository = GOLANG.repository): string {
  return `${hub.url}/v2/${repository}/manifests/latest`;
}

/** How many matching requests the stand-in answered, not counting those that it only asked for a token. */
export function served(hub: FakeHub, filter: RequestFilter): number {
  return hub.requests.filter((request) => request.status !== 401 && matches(request, filter)).length;
}
