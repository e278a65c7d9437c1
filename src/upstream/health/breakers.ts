import type { BreakerEvent, BreakerKind } from '../../events/events.ts';
import type { Answer } from '../connect/answer.ts';
import { isForeign } from '../connect/headers.ts';
import { TimeLimit } from '../connect/time-limit.ts';
import type { Transport, TransportRequest } from '../connect/transport.ts';
import { outcomeOf, type Failure } from '../upstream.ts';
import type { Down } from './breaker-rules.ts';
import { Breaker } from './breaker.ts';
import { sendPatiently } from './retry.ts';

export interface BreakersOptions {
  readonly registry: URL;
  /** The URL of probes. */
  readonly ping: URL;
  readonly transport: Transport;
  /** Also the limit of a probe. */
  readonly headersTimeoutMs: number;
  readonly onChange: (change: Omit<BreakerEvent, 'upstream'>) => void;
  readonly now: () => number;
}

/** Limit for each kind: redirects and challenges can name any host. Docker Hub has a handful. */
const MAX_HOSTS = 32;

/** The breakers of one upstream: of its registry, its token service, and each host that it redirects to. */
export class Breakers {
  readonly registry: Breaker;
  readonly #options: BreakersOptions;
  /** By origin. */
  readonly #others = { tokens: new Map<string, Breaker>(), blobs: new Map<string, Breaker>() };
  /** The host of the last redirect: the next blob will probably come from there. */
  #lastBlobs: Breaker | undefined;

  constructor(options: BreakersOptions) {
    this.#options = options;
    this.registry = this.#make('registry', options.ping);
  }

  /**
   * Sends a request to the registry or to the host that it redirected to. Calls `onSecond` before a second try.
   * Throws UpstreamFailure.
   */
  send(request: TransportRequest, onSecond?: () => void): Promise<Answer> {
    const { url, limit } = request;
    const breaker = url.origin === this.#options.registry.origin ? this.registry : this.#blobs(url);
    return breaker.run({
      send: (answersOthers) => sendPatiently(this.#options.transport, request, { answersOthers, onSecond }),
      judge: (answer) => (isReferrersPage(url, answer) ? undefined : downAnswer(answer)),
      resource: url.pathname,
      hasTime: () => limit.remainingMs * 2 >= limit.totalMs,
    });
  }

  /** The breaker of the token service at `realm`. */
  tokens(realm: URL): Breaker {
    // Without the query of the realm, which a probe must not send.
    return this.#other('tokens', new URL(`${realm.origin}${realm.pathname}`));
  }

  /** The breaker of the host that sent `answer`. */
  of(answer: Pick<Answer, 'url'>): Breaker {
    return answer.url.origin === this.#options.registry.origin ? this.registry : this.#blobs(answer.url);
  }

  /** Why blobs cannot be downloaded; `needsToken`: they need a new token first. */
  outage(needsToken: boolean): string | undefined {
    let reason = this.registry.outage();
    if (needsToken) for (const breaker of this.#others.tokens.values()) reason ??= breaker.outage();
    return reason ?? this.#lastBlobs?.outage();
  }

  /** True if a request to the registry would probably wait in vain; `needsToken` as above. */
  isSlow(needsToken: boolean): boolean {
    return (
      this.registry.isSlow || (needsToken && [...this.#others.tokens.values()].some(({ isSlow }) => isSlow))
    );
  }

  close(): void {
    const { tokens, blobs } = this.#others;
    for (const breaker of [this.registry, ...tokens.values(), ...blobs.values()]) breaker.close();
  }

  #blobs(url: URL): Breaker {
    this.#lastBlobs = this.#other('blobs', new URL('/', url));
    return this.#lastBlobs;
  }

  #other(kind: 'tokens' | 'blobs', probeUrl: URL): Breaker {
    const known = this.#others[kind];
    const found = known.get(probeUrl.origin);
    if (found !== undefined) return found;
    const [oldest] = known;
    if (known.size >= MAX_HOSTS && oldest !== undefined) {
      oldest[1].close();
      known.delete(oldest[0]);
    }
    const breaker = this.#make(kind, probeUrl);
    known.set(probeUrl.origin, breaker);
    return breaker;
  }

  #make(kind: BreakerKind, probeUrl: URL): Breaker {
    const { onChange, now } = this.#options;
    const { host } = probeUrl;
    const who = kind === 'tokens' ? `the token service at ${host}` : host;
    onChange({ kind, host, state: 'closed', isNew: true });
    return new Breaker({
      who,
      probe: () => this.#probe(probeUrl, kind),
      onChange: (state, reason) => {
        onChange({ kind, host, state, isNew: false, ...(reason === undefined ? {} : { reason }) });
      },
      now,
    });
  }

  /** Without credentials a registry answers 401, which shows that it works. Of a blob host any response does. */
  async #probe(url: URL, kind: BreakerKind): Promise<Down | undefined> {
    const { transport, headersTimeoutMs } = this.#options;
    const limit = new TimeLimit({ ms: headersTimeoutMs });
    transport.endIdle(url);
    try {
      const outcome = await outcomeOf(transport.send({ method: 'GET', url, headers: {}, limit }));
      if (outcome.kind !== 'ok') return downFailure(outcome);
      await outcome.value.body.discard();
      return kind === 'blobs' ? undefined : downAnswer(outcome.value);
    } finally {
      limit.end();
    }
  }
}

function downFailure(failure: Failure): Down | undefined {
  return failure.kind === 'unavailable' ? failure : undefined;
}

/** A web application in front of a registry answers unknown paths with its start page. */
function isReferrersPage({ pathname }: URL, { status }: Answer): boolean {
  return status === 200 && /\/referrers\/[^/]+$/.test(pathname);
}

/** 501 means an unknown method. An HTML page comes from another server than the registry. */
function downAnswer(answer: Answer): Down | undefined {
  const { status, url } = answer;
  if (status >= 500 && status !== 501) {
    return { kind: 'unavailable', cause: 'server-error', reason: `${url.host} answered ${status}` };
  }
  if (!isForeign(answer)) return undefined;
  return { kind: 'unavailable', cause: 'not-a-registry', reason: `${url.host} answered with a page of HTML` };
}
