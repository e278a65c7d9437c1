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

/** How long nothing more is said of connections over a limit. */
const QUIET_MS = 60_000;
/** Pulls of others that come within so long a time of each other are one event; so are forecasts. */
const EPISODE_MS = 30 * 60_000;

type Level = 'enough' | 'low' | 'used up';

/** What has been said of one identity. */
interface Told {
  level: Level;
  /** When the last forecast stood, and when pulls of others were last seen; ms since the epoch. */
  forecastAt: number;
  foreignAt: number;
}

/** Writes events to the log: once when something changes, not each time that it shows. */
export class EventLog implements Listener {
  readonly #log: Logger;
  readonly #told = new Map<string, Told>();
  readonly #refusedAt = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** One line per request. The repository and reference are by the grammar when they are there; queries never are. */
  request({ isAborted, userAgent, durationMs, ...request }: RequestEnded): void {
    const { client, account, method, kind, repository, reference, status, bytes, cache } = request;
    const line = {
      client,
      account,
      method,
      kind,
      repository,
      reference,
      status,
      bytes,
      durationMs: Math.round(durationMs * 10) / 10,
      cache,
      aborted: isAborted ? true : undefined,
      // C1 controls, which Node lets through: some terminals obey them.
      userAgent: userAgent?.replaceAll(/[\u0080-\u009f]/g, '?'),
    };
    if (kind === 'health') this.#log.debug(line, 'request');
    else this.#log.info(line, 'request');
  }

  unreadable(event: Events['unreadable']): void {
    this.#log.info(event, 'unreadable request');
  }

  /** Many connections over a limit are one event; each failed handshake is one of its own. */
  connectionRefused({ why, client, reason }: ConnectionRefused): void {
    if (why === 'tls') {
      this.#log.info({ client, reason }, 'TLS handshake failed');
      return;
    }
    const now = performance.now();
    if (now - (this.#refusedAt.get(why) ?? -Infinity) < QUIET_MS) return;
    this.#refusedAt.set(why, now);
    if (why === 'accept') {
      this.#log.error({ reason }, 'connections cannot be accepted');
      return;
    }
    const setting = why === 'connections' ? 'maxConnections' : 'maxClientConnections';
    this.#log.warn({ client, setting }, 'connections over the limit are closed');
  }

  fill({ reason, ...fill }: FillEnded): void {
    if (fill.result === 'stored') this.#log.debug(fill, 'fill');
    else this.#log.warn({ ...fill, reason }, 'fill');
  }

  breaker({ upstream, kind, host, state, reason, isNew }: BreakerEvent): void {
    if (isNew) return;
    const line = { upstream, kind, host, ...(reason === undefined ? {} : { reason }) };
    if (state === 'open') this.#log.warn(line, 'upstream is out of reach');
    else if (state === 'closed') this.#log.info(line, 'upstream is in reach again');
    else this.#log.debug(line, 'upstream is tried again');
  }

  pullLimit({ upstream, state, foreignPulls }: PullLimitEvent): void {
    const { identity, limit, remaining, source } = state;
    const line = { upstream, identity, limit, remaining, source };
    const told = this.#told.get(`${upstream} ${identity}`) ?? {
      level: 'enough',
      forecastAt: 0,
      foreignAt: 0,
    };
    this.#told.set(`${upstream} ${identity}`, told);
    const level: Level = state.spentUntil === undefined ? (state.isLow ? 'low' : 'enough') : 'used up';
    if (level !== told.level) {
      const until = state.spentUntil === undefined ? undefined : timeText(state.spentUntil);
      if (level === 'enough') this.#log.info(line, 'there are pulls enough again');
      else this.#log.warn({ ...line, until }, level === 'low' ? 'few pulls are left' : 'no pulls are left');
      told.level = level;
    }
    if (level !== 'used up') this.#forecast(line, told, state);
    if (foreignPulls > 0) this.#foreign(line, told, { pulls: foreignPulls, at: state.readAt });
  }

  /** That it moves, or goes and comes again with every pull, is no news. */
  #forecast(line: object, told: Told, { emptyAt, readAt }: PullLimitEvent['state']): void {
    if (emptyAt === undefined) return;
    if (readAt - told.forecastAt > EPISODE_MS) {
      this.#log.warn({ ...line, emptyAt: timeText(emptyAt) }, 'pulls will be used up');
    }
    told.forecastAt = readAt;
  }

  #foreign(line: object, told: Told, seen: { readonly pulls: number; readonly at: number }): void {
    if (seen.at - told.foreignAt > EPISODE_MS) {
      const text = 'pulls were counted that this mirror did not make: somebody goes around it';
      this.#log.warn({ ...line, foreignPulls: seen.pulls }, text);
    }
    told.foreignAt = seen.at;
  }

  removed({ reason, manifests, blobs, bytes }: ContentRemoved): void {
    this.#log.debug({ reason, manifests, blobs, bytes }, 'removed');
  }

  strayFileRemoved(event: Events['strayFileRemoved']): void {
    this.#log.warn(event, 'removed a file that is no blob and that the index does not know');
  }

  blobLost({ digest, problem }: Events['blobLost']): void {
    const message = problem === 'unreadable' ? 'the disk cannot read a blob' : 'blob lost';
    this.#log.warn({ digest, problem }, message);
  }

  badContent({ foundBy, ...found }: BadContent): void {
    this.#log.warn({ ...found, foundBy }, 'bad content');
  }

  imported({ known, ...bundle }: BundleImported): void {
    this.#log.info({ ...bundle, known: known.blobs }, 'bundle imported');
  }

  diskHealth({ reason }: Events['diskHealth']): void {
    if (reason === undefined) this.#log.info('the disk takes blobs again');
    else this.#log.error({ reason }, 'the disk refuses blobs: they are passed on and not kept');
  }

  diskFull({ isFull }: Events['diskFull']): void {
    if (isFull) this.#log.warn('disk full');
    else this.#log.info('disk has room again');
  }

  indexDamaged({ reason, keptAs }: Events['indexDamaged']): void {
    if (keptAs === undefined) {
      this.#log.error({ reason }, 'index damaged: restart pierhead to make a new one');
    } else {
      this.#log.error({ reason, keptAs }, 'damaged index set aside: a new one is made from the cached blobs');
    }
  }

  indexRebuilt(): void {
    this.#log.info('the index knows all cached blobs again');
  }

  indexHealth({ isFailing }: Events['indexHealth']): void {
    if (isFailing) this.#log.error('the disk refuses the index: what is learnt is kept in memory only');
    else this.#log.info('the disk takes the index again');
  }

  indexFailed({ error }: Events['indexFailed']): void {
    if (errorCode(error) === undefined) this.#log.error({ err: error }, 'internal error');
  }

  fileRead({ setting, reason }: Events['fileRead']): void {
    if (reason === undefined) this.#log.info({ setting }, 'read again');
    else this.#log.error({ setting, reason }, 'not usable');
  }

  fault({ where, error }: Events['fault']): void {
    this.#log.error({ err: error, kind: where }, 'internal error');
  }
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
