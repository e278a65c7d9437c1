import { headerText, type AnswerHeaders } from './answer-headers.ts';

/** What an answer tells of the pull limit; every part may be missing. */
export interface BudgetReading {
  /** Pulls in a window. */
  readonly limit?: number;
  readonly remaining?: number;
  readonly windowMs?: number;
  /** Whose limit it is, as Docker Hub sees it: an address, a /64 network, the id of an account. */
  readonly source?: string;
}

/** Longer than any that Docker Hub could send; it goes into logs and metrics. */
const SOURCE = /^[\w.:/-]{1,64}$/;

/**
 * The rate headers of Docker Hub, `ratelimit-limit: 100;w=21600` and the like. Numbers have been missing
 * (`;w=21600`, docker/hub-feedback issue 2081). Undefined: not a word of a limit, so there is none.
 */
export function budgetReading(headers: AnswerHeaders): BudgetReading | undefined {
  const limit = parts(headers, 'ratelimit-limit');
  const remaining = parts(headers, 'ratelimit-remaining');
  if (limit === undefined && remaining === undefined) return undefined;
  const windowMs = limit?.windowMs ?? remaining?.windowMs;
  const source = headerText(headers, 'docker-ratelimit-source')?.trim();
  return {
    ...(limit?.count === undefined ? {} : { limit: limit.count }),
    ...(remaining?.count === undefined ? {} : { remaining: remaining.count }),
    ...(windowMs === undefined ? {} : { windowMs }),
    ...(source !== undefined && SOURCE.test(source) ? { source } : {}),
  };
}

interface Parts {
  readonly count: number | undefined;
  readonly windowMs: number | undefined;
}

function parts(headers: AnswerHeaders, name: string): Parts | undefined {
  const text = headerText(headers, name);
  if (text === undefined) return undefined;
  const [, count, seconds] = /^\s*(\d{1,15})?\s*(?:;\s*w\s*=\s*(\d{1,9}))?/i.exec(text) ?? [];
  return {
    count: count === undefined ? undefined : Number(count),
    windowMs: seconds === undefined ? undefined : Number(seconds) * 1000,
  };
}
