/** Why a call to Redis came to nothing, in one word for metrics. */
export type RedisFailure =
  | 'timeout' // no answer in time
  | 'slow' // answers, but so late that it is better left alone
  | 'connection' // none, or it broke
  | 'credentials' // wrong, or without the right to do this
  | 'full' // out of memory
  | 'read-only' // a replica
  | 'loading' // still reading its data, or a cluster that is not whole
  | 'wrong-type' // another program's data under our keys
  | 'malformed' // the same, of the right type
  | 'unsigned' // says who may see what, and not by an HMAC of our fleetSecret, or no longer
  | 'tampered' // bytes that do not hash to the digest that they are kept under
  | 'refused'; // any other error that Redis answers

/** By the first word of what Redis answers (redis.io, "RESP protocol", simple errors). */
const ANSWERS: Readonly<Record<string, RedisFailure>> = {
  NOAUTH: 'credentials',
  WRONGPASS: 'credentials',
  NOPERM: 'credentials',
  OOM: 'full',
  MISCONF: 'full',
  READONLY: 'read-only',
  LOADING: 'loading',
  CLUSTERDOWN: 'loading',
  MASTERDOWN: 'loading',
  WRONGTYPE: 'wrong-type',
};

/** What kind of failure it was, without its text, which can hold keys and addresses. */
export function failureOf(error: unknown): RedisFailure {
  if (!(error instanceof Error)) return 'refused';
  if (error.message.includes('timed out')) return 'timeout';
  if (error.name !== 'ReplyError') return 'connection';
  return ANSWERS[/^-?([A-Z]+)/.exec(error.message)?.[1] ?? ''] ?? 'refused';
}

/** Whether Redis did not answer at all; an answer, even a refusal, shows that it is alive. */
export function isSilence(failure: RedisFailure): boolean {
  return failure === 'timeout' || failure === 'connection';
}
