import { randomUUID } from 'node:crypto';
import { REDIS_PREFIX, type RedisConnection } from './connection.ts';
import { parseObject } from '../manifest/codec.ts';

/** What one server has read of the pull limit of an identity. Times are ms since the epoch. */
export interface SharedBudget {
  readonly identity: string;
  readonly source?: string;
  readonly limit?: number;
  readonly remaining?: number;
  readonly windowMs?: number;
  readonly readAt: number;
  readonly isLow: boolean;
  readonly spentUntil?: number;
  readonly emptyAt?: number;
}

export type SharedBudgetNews =
  | { readonly kind: 'read'; readonly state: SharedBudget }
  | { readonly kind: 'spent'; readonly pulls: number; readonly source?: string };

/** Where servers that pull under the same identity tell each other what they read and spend. Nothing here rejects. */
export interface RedisBudgets {
  /** Undefined: nobody has left anything, or nobody can be asked. */
  load(key: string): Promise<SharedBudget | undefined>;
  publish(key: string, news: SharedBudgetNews): void;
  /** Calls `listener` with what others publish. */
  subscribe(listener: (key: string, news: SharedBudgetNews) => void): void;
}

const CHANNEL = `${REDIS_PREFIX}budgets`;
/** The longest window of Docker Hub is six hours; what is older says nothing. */
const EXPIRY_SECONDS = 6 * 60 * 60;
const CLOCK_SKEW_MS = 60_000;
const MAX_TEXT_LENGTH = 300;
const MAX_PULLS = 1_000_000;

export function createRedisBudgets(
  connection: RedisConnection,
  options: { readonly now: () => number },
): RedisBudgets {
  const origin = randomUUID();
  const decode = (value: unknown): SharedBudget | undefined => {
    const budget = decodeBudget(value);
    // A time that lies ahead would count as the last word until it has come.
    return budget !== undefined && budget.readAt <= options.now() + CLOCK_SKEW_MS ? budget : undefined;
  };
  const load = async (key: string): Promise<SharedBudget | undefined> => {
    const text = await connection.try((client) => client.get(budgetKey(key)));
    return typeof text === 'string' ? decode(parseObject(text)) : undefined;
  };
  const publish = (key: string, news: SharedBudgetNews): void => {
    if (news.kind === 'read') {
      const text = JSON.stringify(news.state);
      void connection.try((client) => client.set(budgetKey(key), text, 'EX', EXPIRY_SECONDS));
    }
    const message = JSON.stringify({ origin, key, news });
    void connection.try((client) => client.publish(CHANNEL, message));
  };
  const subscribe: RedisBudgets['subscribe'] = (listener) => {
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
  decode: (value: unknown) => SharedBudget | undefined,
): SharedBudgetNews | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { kind, state, pulls, source } = value as Record<string, unknown>;
  if (kind === 'read') {
    const known = decode(state);
    return known === undefined ? undefined : { kind, state: known };
  }
  if (kind !== 'spent' || !isAmount(pulls) || pulls > MAX_PULLS) return undefined;
  return { kind, pulls, ...(isText(source) ? { source } : {}) };
}

/** Undefined if it is no budget; numbers that are none are left out. */
function decodeBudget(value: unknown): SharedBudget | undefined {
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

function budgetKey(key: string): string {
  return `${REDIS_PREFIX}budget:${key}`;
}
