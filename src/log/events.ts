import { answerStatus, type Exchange } from '../http/registry/exchange.ts';
import type { BreakerEvent, PullLimitEvent } from '../upstream/events.ts';
import type { Logger } from './log.ts';

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

/** Logs what becomes of upstreams: once when it changes, not each time that it shows. */
export class UpstreamWatch {
  readonly #log: Logger;
  readonly #told = new Map<string, Told>();

  constructor(log: Logger) {
    this.#log = log;
  }

  breaker({ upstream, kind, host, state, reason, isNew }: BreakerEvent): void {
    if (isNew) return;
    const line = { upstream, kind, host, ...(reason === undefined ? {} : { reason }) };
    if (state === 'open') this.#log.warn(line, 'upstream is out of reach');
    else if (state === 'closed') this.#log.info(line, 'upstream is in reach again');
    else this.#log.debug(line, 'upstream is tried again');
  }

  pullLimit({ host: upstream, state, foreignPulls }: PullLimitEvent): void {
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
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

/** One line per request. The repository and reference are by the grammar when they are there; queries never are. */
export function logExchange(log: Logger, exchange: Exchange): void {
  const { request, response, client, account, kind, repository, reference, cache, bytes } = exchange;
  const line = {
    client,
    account,
    method: request.method,
    kind,
    repository,
    reference,
    status: answerStatus(exchange),
    bytes,
    durationMs: Math.round((performance.now() - exchange.startedAt) * 10) / 10,
    cache,
    aborted: response.writableFinished ? undefined : true,
    // C1 controls, which Node lets through: some terminals obey them.
    userAgent: request.headers['user-agent']?.replaceAll(/[\u0080-\u009f]/g, '?'),
  };
  if (kind === 'health') log.debug(line, 'request');
  else log.info(line, 'request');
}
