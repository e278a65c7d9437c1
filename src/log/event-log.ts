import type {
  BadContent,
  BreakerEvent,
  BundleImported,
  ConnectionRefused,
  ContentRemoved,
  Events,
  FillEnded,
  Listener,
  PullLimitEvent,
  RequestEnded,
} from '../events/events.ts';
import { errorCode } from '../lib/errors.ts';
import type { Logger } from './log.ts';

/** Closed connections are logged once in this time, for each limit. */
const QUIET_MS = 60_000;
/** Pulls by other clients are one event while the gaps between them are shorter than this; so are forecasts. */
const EPISODE_MS = 30 * 60_000;

type Level = 'enough' | 'low' | 'used up';

/** The last lines about the pull limit of one identity. Times are in ms since the epoch. */
interface LoggedLimit {
  level: Level;
  /** Time of the last event with a forecast. */
  forecastAt: number;
  /** Time of the last event with pulls by other clients. */
  foreignAt: number;
}

/** Writes events to the log. A state gets a line when it changes, not each time that an event repeats it. */
export class EventLog implements Listener {
  readonly #log: Logger;
  readonly #limits = new Map<string, LoggedLimit>();
  readonly #refusedAt = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** One line per request, without its query. Repository and reference have passed the grammar, or are absent. */
  request(request: RequestEnded): void {
    const line = {
      client: request.client,
      account: request.account,
      method: request.method,
      kind: request.kind,
      repository: request.repository,
      reference: request.reference,
      status: request.status,
      bytes: request.bytes,
      durationMs: Math.round(request.durationMs * 10) / 10,
      cache: request.cache,
      aborted: request.isAborted ? true : undefined,
      // Node lets C1 controls pass, and some terminals obey them.
      userAgent: request.userAgent?.replaceAll(/[\u0080-\u009f]/g, '?'),
    };
    if (request.kind === 'health') this.#log.debug(line, 'request');
    else this.#log.info(line, 'request');
  }

  unreadable(event: Events['unreadable']): void {
    this.#log.info(event, 'unreadable request');
  }

  /** A failed handshake gets a line each time. Other refusals get one a minute, since thousands may come at once. */
  connectionRefused({ why, client, reason }: ConnectionRefused): void {
    if (why === 'tls') {
      this.#log.info({ client, reason }, 'TLS handshake failed');
      return;
    }
    const now = performance.now();
    if (now - (this.#refusedAt.get(why) ?? -Infinity) < QUIET_MS) return;
    this.#refusedAt.set(why, now);
    if (why === 'accept') {
      this.#log.error({ reason }, 'connections not accepted');
      return;
    }
    const setting = why === 'connections' ? 'maxConnections' : 'maxClientConnections';
    this.#log.warn({ client, setting }, 'connections over limit closed');
  }

  fill({ reason, ...fill }: FillEnded): void {
    if (fill.result === 'stored') this.#log.debug(fill, 'fill ended');
    else this.#log.warn({ ...fill, reason }, 'fill ended');
  }

  breaker({ upstream, kind, host, state, reason, isNew }: BreakerEvent): void {
    if (isNew) return;
    const line = { upstream, kind, host, reason };
    if (state === 'open') this.#log.warn(line, 'upstream unreachable');
    else if (state === 'closed') this.#log.info(line, 'upstream reachable again');
    else this.#log.debug(line, 'upstream tried again');
  }

  pullLimit({ upstream, state, foreignPulls }: PullLimitEvent): void {
    const { identity, limit, remaining, source } = state;
    const line = { upstream, identity, limit, remaining, source };
    const key = `${upstream} ${identity}`;
    const logged = this.#limits.get(key) ?? { level: 'enough', forecastAt: 0, foreignAt: 0 };
    this.#limits.set(key, logged);
    const level: Level = state.spentUntil === undefined ? (state.isLow ? 'low' : 'enough') : 'used up';
    if (level !== logged.level) {
      const until = state.spentUntil === undefined ? undefined : timeText(state.spentUntil);
      if (level === 'enough') this.#log.info(line, 'pull limit normal again');
      else this.#log.warn({ ...line, until }, level === 'low' ? 'pull limit low' : 'pull limit used up');
      logged.level = level;
    }
    if (level !== 'used up') this.#forecast(line, logged, state);
    if (foreignPulls > 0) this.#foreign(line, logged, { pulls: foreignPulls, at: state.readAt });
  }

  /** A forecast moves, comes and goes with each pull. Only the first one of an episode gets a line. */
  #forecast(line: object, logged: LoggedLimit, { emptyAt, readAt }: PullLimitEvent['state']): void {
    if (emptyAt === undefined) return;
    if (readAt - logged.forecastAt > EPISODE_MS) {
      this.#log.warn({ ...line, emptyAt: timeText(emptyAt) }, 'pull limit used up soon');
    }
    logged.forecastAt = readAt;
  }

  #foreign(line: object, logged: LoggedLimit, seen: { readonly pulls: number; readonly at: number }): void {
    if (seen.at - logged.foreignAt > EPISODE_MS) {
      this.#log.warn({ ...line, foreignPulls: seen.pulls }, 'clients bypass Pierhead');
    }
    logged.foreignAt = seen.at;
  }

  removed({ reason, manifests, blobs, bytes }: ContentRemoved): void {
    this.#log.debug({ reason, manifests, blobs, bytes }, 'content removed');
  }

  strayFileRemoved(event: Events['strayFileRemoved']): void {
    this.#log.warn(event, 'stray file removed');
  }

  blobLost({ digest, problem, reason }: Events['blobLost']): void {
    const message = problem === 'unreadable' ? 'blob unreadable' : 'blob lost';
    this.#log.warn({ digest, problem, reason }, message);
  }

  badContent({ foundBy, ...found }: BadContent): void {
    this.#log.warn({ ...found, foundBy }, 'bad content');
  }

  imported({ known, ...bundle }: BundleImported): void {
    this.#log.info({ ...bundle, known: known.blobs }, 'bundle imported');
  }

  diskHealth({ reason }: Events['diskHealth']): void {
    if (reason === undefined) this.#log.info('disk writable again');
    else this.#log.error({ reason }, 'disk not writable');
  }

  diskFull({ isFull }: Events['diskFull']): void {
    if (isFull) this.#log.warn('disk full');
    else this.#log.info('disk has room again');
  }

  indexDamaged({ reason, keptAs }: Events['indexDamaged']): void {
    if (keptAs === undefined) this.#log.error({ reason }, 'index damaged, restart needed');
    else this.#log.error({ reason, keptAs }, 'damaged index set aside');
  }

  indexRebuilt(): void {
    this.#log.info('index rebuilt');
  }

  indexHealth({ isFailing }: Events['indexHealth']): void {
    if (isFailing) this.#log.error('index not writable');
    else this.#log.info('index writable again');
  }

  indexFailed({ error }: Events['indexFailed']): void {
    if (errorCode(error) === undefined) this.#log.error({ err: error }, 'internal error');
  }

  fileRead({ setting, reason }: Events['fileRead']): void {
    if (reason === undefined) this.#log.info({ setting }, 'file read again');
    else this.#log.error({ setting, reason }, 'file not usable');
  }

  fault({ where, error }: Events['fault']): void {
    this.#log.error({ err: error, kind: where }, 'internal error');
  }
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
