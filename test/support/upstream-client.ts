import { expect, onTestFinished } from 'vitest';
import { tellAll, type Listener, type UpstreamRequest } from '../../src/events/events.ts';
import { createUpstream, type UpstreamOptions } from '../../src/upstream/registry/client.ts';
import type { BlobStream, Outcome, Upstream } from '../../src/upstream/upstream.ts';
import type { FakeHub, FakeHubOptions } from '../fake/hub.ts';
import { filledHub } from './filled-hub.ts';

export const ANYBODY = { identity: 'anonymous' } as const;
export const CONFIGURED = { identity: 'configured' } as const;
export const CAROL = { username: 'carol', password: 'secret' } as const;

/** A client whose doings are noted; it closes with the running test. */
export interface WatchedUpstream {
  readonly upstream: Upstream;
  readonly events: readonly UpstreamRequest[];
  readonly receivedBytes: () => number;
}

/** `listener` is told of its events. */
export function watchedUpstream(
  url: string,
  options: Partial<UpstreamOptions> = {},
  listener: Listener = {},
): WatchedUpstream {
  const events: UpstreamRequest[] = [];
  let bytes = 0;
  const own: Listener = {
    upstreamRequest: (event) => void events.push(event),
    upstreamBytes: (event) => void (bytes += event.bytes),
  };
  const upstream = createUpstream({
    host: 'docker.io',
    url,
    connectTimeoutMs: 5000,
    headersTimeoutMs: 8000,
    idleTimeoutMs: 20_000,
    userAgent: 'pierhead/0.0.0-test',
    pullLimit: { lowShare: 0.2, reserve: 10 },
    tell: tellAll([own, listener]),
    ...options,
  });
  onTestFinished(() => upstream.close());
  return { upstream, events, receivedBytes: () => bytes };
}

export interface HubAndUpstream extends WatchedUpstream {
  readonly hub: FakeHub;
}

/** A filled stand-in and a client of it, which must have behaved well when the test ends. */
export async function hubAndUpstream(
  hubOptions: FakeHubOptions = {},
  options: Partial<UpstreamOptions> = {},
  listener: Listener = {},
): Promise<HubAndUpstream> {
  const hub = await filledHub(hubOptions);
  onTestFinished(() => expect(hub.violations).toEqual([]));
  return { hub, ...watchedUpstream(hub.url, options, listener) };
}

/** The value of an outcome that must be `ok`. */
export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`not ok but ${JSON.stringify(outcome)}`);
  return outcome.value;
}

/** Why upstream is unavailable, as `cause: reason`; anything else as it is. */
export function causeOf(outcome: Outcome<unknown>): string {
  return outcome.kind === 'unavailable' ? `${outcome.cause}: ${outcome.reason}` : outcome.kind;
}

export interface ReadBody {
  readonly bytes: Buffer;
  /** What ended the body before its time. */
  readonly error: unknown;
}

export async function readBody(stream: BlobStream): Promise<ReadBody> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of stream.body) chunks.push(chunk);
    return { bytes: Buffer.concat(chunks), error: undefined };
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error };
  }
}
