import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { withinMs } from '../../src/lib/promises.ts';
import { RunningTime } from '../../src/lib/clock.ts';
import { connectToEcho, standStill } from '../support/standstill.ts';
import { withDeadline } from '../support/wait.ts';

const BEAT_MS = 20;

describe('time in which the process ran', () => {
  it('does not pass while the process stands still', () => {
    const timer = new RunningTime({ beatMs: BEAT_MS }).timer(60_000, () => undefined);
    standStill(1000);
    expect(timer.elapsedMs).toBeLessThanOrEqual(2 * BEAT_MS);
    expect(timer.remainingMs).toBeGreaterThan(59_000);
    timer.stop();
  });

  it('does not pass in any of many standstills', async () => {
    const timer = new RunningTime({ beatMs: BEAT_MS }).timer(60_000, () => undefined);
    for (let turn = 0; turn < 10; turn++) {
      standStill(100);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    expect(timer.elapsedMs).toBeLessThan(1000);
    timer.stop();
  });

  it('passes while the process runs, and goes on after a time in which nothing was limited', async () => {
    const time = new RunningTime({ beatMs: BEAT_MS });
    for (let round = 0; round < 2; round++) {
      await withDeadline(new Promise<void>((resolve) => time.timer(100, resolve)), 'the end of a limit');
      await new Promise((resolve) => setTimeout(resolve, 3 * BEAT_MS));
    }
  });

  it('leaves what an answer needs after a standstill in which the limit would have run out', async () => {
    const time = new RunningTime({ beatMs: BEAT_MS });
    const socket = await connectToEcho();
    const ends: string[] = [];
    socket.once('data', () => ends.push('answer'));
    const timer = time.timer(500, () => ends.push('limit'));
    socket.write('?');
    standStill(1500);
    await withDeadline(once(socket, 'data'), 'the answer');
    timer.stop();
    expect(ends).toEqual(['answer']);
  });

  it('reads an answer that has come before it ends a limit that is over, however short a standstill was', async () => {
    const socket = await connectToEcho();
    const answer = once(socket, 'data');
    socket.write('?');
    // No beat notices: what counts is that the sockets have their turn.
    const answered = withinMs(answer, 100, new RunningTime({ beatMs: 60_000 }));
    standStill(500);
    expect(await answered).toBeDefined();
  });

  it('begins anew when a timer is restarted', () => {
    const timer = new RunningTime({ beatMs: 60_000 }).timer(60_000, () => undefined);
    standStill(1000);
    const beforeMs = timer.elapsedMs;
    timer.restart();
    expect(timer.elapsedMs).toBeLessThan(beforeMs);
    timer.stop();
    const stoppedAtMs = timer.elapsedMs;
    standStill(50);
    expect(timer.elapsedMs).toBe(stoppedAtMs);
  });

  it('ends no wait that was stopped while the sockets had their turn', async () => {
    let isDue = false;
    const timer = new RunningTime({ beatMs: BEAT_MS }).timer(1, () => {
      isDue = true;
    });
    setTimeout(() => timer.stop(), 1);
    standStill(50);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isDue).toBe(false);
  });
});
