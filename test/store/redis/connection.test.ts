import { expect, it } from 'vitest';
import { RedisAllowance } from '../../../src/store/redis/connection.ts';

it('a wait that a timer ended a little early has used all up', async () => {
  const allowance = new RedisAllowance(1200);
  const left = await allowance.during(async () => {
    allowance.waited(320);
    const before = allowance.leftMs;
    allowance.waited(879.6);
    return [before, allowance.leftMs];
  });
  expect(left).toEqual([880, 0]);
  expect(allowance.leftMs).toBe(Infinity);
});
