import { randomUUID } from 'node:crypto';
import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import type { PullLimitNews, PullLimitState, SharedPullLimits } from '../../oci/pull-limit.ts';
import { parseObject } from '../codec.ts';
import { REDIS_PREFIX, type RedisConnection } from './connection.ts';

const CHANNEL = `${REDIS_PREFIX}budgets`;
/** Docker Hub's longest window is six hours, so an older state is useless. */
const EXPIRY_SECONDS = 6 * 60 * 60;
/** The longest window, and the longest time that a refusal is honoured. */
const MAX_WINDOW_MS = 31 * 24 * 60 * 60_000;
const MAX_TEXT_LENGTH = 300;
const MAX_PULLS = 1_000_000;

/** Shares the state of pull limits between the servers on one Redis. Without Redis each server has its own state. */
export function createRedisPullLimits(
  connection: RedisConnection,
  options: { readonly now: () => number },
): SharedPullLimits {
  const origin = randomUUID();
  const decode = (value: unknown): PullLimitState | undefined => {
    const pullLimit = decodePullLimit(value);
    if (pullLimit === undefined) return undefined;
    const { readAt, windowMs = 0, spentUntil = 0, emptyAt = 0 } = pullLimit;
    const now = options.now();
    // A `readAt` in the future would win over all later readings until then. Other times must be plausible.
    const isPossible = readAt <= now + CLOCK_SKEW_MS && windowMs <= MAX_WINDOW_MS;
    return isPossible && Math.max(spentUntil, emptyAt) <= now + MAX_WINDOW_MS ? pullLimit : undefined;
  };
  const load = async (key: string): Promise<PullLimitState | undefined> => {
    const text = await connection.try((client) => client.get(pullLimitKey(key)));
    return typeof text === 'string' ? decode(parseObject(text)) : undefined;
  };
  const publish = (key: string, news: PullLimitNews): void => {
    if (news.kind === 'read') {
      const text = JSON.stringify(news.state);
      void connection.try((client) => client.set(pullLimitKey(key), text, 'EX', EXPIRY_SECONDS));
    }
    const message = JSON.stringify({ origin, key, news });
    void connection.try((client) => client.publish(CHANNEL, message));
  };
  const subscribe: SharedPullLimits['subscribe'] = (listener) => {
    connection.listen(CHANNEL, (text) => {
      const message = parseObject(text);
      const key = message?.['key'];
      if (message === undefined || message['origin'] === origin || typeof key !== 'string') return;
      const news = decodeNews(message['news'], decode);
      if (news !== undefined) listener(key, news);
    });
  };
  return { load, publish, subscribe };
}

function decodeNews(
  value: unknown,
  decode: (value: unknown) => PullLimitState | undefined,
): PullLimitNews | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { kind, state, pulls, source } = value as Record<string, unknown>;
  if (kind === 'read') {
    const known = decode(state);
    return known === undefined ? undefined : { kind, state: known };
  }
  if (kind !== 'spent' || !isAmount(pulls) || pulls > MAX_PULLS) return undefined;
  return { kind, pulls, ...(isText(source) ? { source } : {}) };
}

/** Undefined if `value` is no PullLimitState. Invalid numbers are left out. */
function decodePullLimit(value: unknown): PullLimitState | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { identity, source, limit, remaining, windowMs, readAt, isLow, spentUntil, emptyAt } =
    value as Record<string, unknown>;
  if (!isText(identity) || !isAmount(readAt)) return undefined;
  return {
    identity,
    ...(isText(source) ? { source } : {}),
    ...(isAmount(limit) ? { limit } : {}),
    ...(isAmount(remaining) ? { remaining } : {}),
    ...(isAmount(windowMs) ? { windowMs } : {}),
    readAt,
    isLow: isLow === true,
    ...(isAmount(spentUntil) ? { spentUntil } : {}),
    ...(isAmount(emptyAt) ? { emptyAt } : {}),
  };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TEXT_LENGTH;
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function pullLimitKey(key: string): string {
  return `${REDIS_PREFIX}budget:${key}`;
}
