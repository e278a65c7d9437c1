import { expect, onTestFinished, test, vi } from 'vitest';
import { AnswerBody } from '../../../src/upstream/connect/answer.ts';
import { DialGuard } from '../../../src/upstream/connect/dial-guard.ts';
import { SecondTry } from '../../../src/upstream/health/retry.ts';
import { TimeLimit } from '../../../src/upstream/connect/time-limit.ts';
import { Transport } from '../../../src/upstream/connect/transport.ts';

const URL_OF_IT = new URL('http://127.0.0.1/v2/');

/** Asks, and stops so many turns of the queue of promises after the answer has come. */
async function stoppedAfter(
  turns: number,
): Promise<{ readonly isGiven: boolean; readonly isEnded: boolean }> {
  const transport = new Transport(
    { connectTimeoutMs: 1000, idleTimeoutMs: 1000, userAgent: 'test' },
    new DialGuard({ registry: URL_OF_IT, networks: [] }),
  );
  onTestFinished(() => transport.close());
  let isEnded = false;
  const body = new AnswerBody({
    pause: () => undefined,
    resume: () => undefined,
    abort: () => void (isEnded = true),
  });
  const stop = new AbortController();
  const stopSoon = async (): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    stop.abort(new Error('stopped'));
  };
  vi.spyOn(transport, 'send').mockImplementation(() => {
    void stopSoon();
    return Promise.resolve({ url: URL_OF_IT, status: 200, headers: {}, body });
  });
  const limit = new TimeLimit({ ms: 60_000, signal: stop.signal });
  const sent = new SecondTry(transport, { answersOthers: () => false }).send({
    method: 'GET',
    url: URL_OF_IT,
    headers: {},
    limit,
  });
  const isGiven = await sent.then(
    () => true,
    () => false,
  );
  limit.end();
  return { isGiven, isEnded };
}

test('an answer that comes as its caller stops is given to him, or its connection is ended', async () => {
  const ends = await Promise.all([...Array(12).keys()].map(stoppedAfter));
  for (const { isGiven, isEnded } of ends) expect(isEnded).toBe(!isGiven);
  expect(new Set(ends.map(({ isGiven }) => isGiven))).toEqual(new Set([true, false]));
});
