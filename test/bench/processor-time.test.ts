import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { eventually, withDeadline } from '../support/wait.ts';
import {
  processorTime,
  threadKind,
  usedTime,
  type ProcessorTime,
  type ThreadTime,
} from './processor-time.ts';

function time(all: number, threads: readonly [id: number, ...Parameters<typeof thread>][]): ProcessorTime {
  return { all, threads: new Map(threads.map(([id, kind, seconds]) => [id, thread(kind, seconds)])) };
}

function thread(kind: ThreadTime['kind'], seconds: number): ThreadTime {
  return { kind, seconds };
}

describe('used processor time', () => {
  it('is the difference of each kind of thread, for a unit of what was done', () => {
    const before = time(10, [
      [1, 'main', 4],
      [2, 'v8', 1],
      [3, 'v8', 1],
      [4, 'pool', 2],
    ]);
    const after = time(20, [
      [1, 'main', 8],
      [2, 'v8', 2],
      [3, 'v8', 2],
      [4, 'pool', 3],
      [5, 'worker', 2],
    ]);
    expect(usedTime(before, after, 2)).toEqual({ cpu: 5, mainCpu: 2, v8Cpu: 1, poolCpu: 0.5, workerCpu: 1 });
  });

  it('takes a thread for what it was known to be at the other moment', () => {
    const before = time(3, [
      [4, undefined, 1],
      [5, 'worker', 1],
    ]);
    const after = time(6, [
      [4, 'pool', 2],
      [5, undefined, 3],
    ]);
    expect(usedTime(before, after)).toMatchObject({ poolCpu: 1, workerCpu: 2 });
  });

  it('keeps what threads used that have ended', () => {
    const before = time(3, [[5, 'worker', 1]]);
    expect(usedTime(before, time(6, [[1, 'main', 0]]))).toMatchObject({ cpu: 3, workerCpu: 0 });
  });

  it('says nothing of the threads of servers that are not Node', () => {
    expect(usedTime(time(1, []), time(3, []))).toEqual({ cpu: 2 });
  });
});

describe('the kind of a thread', () => {
  const blocked = (mask: string): string => `Name:\tnode\nSigBlk:\t${mask}\nSigIgn:\t0000000001001000\n`;
  it.each([
    ['V8Worker', 'futex_do_wait', '0000000000000200', 'v8'],
    ['node-V8Worker', '0', '0000000000000200', 'v8'],
    ['DelayedTaskSche', 'do_epoll_wait', '0000000000000200', 'v8'],
    ['libuv-worker', '0', '0000000000000000', 'pool'],
    ['WorkerThread', '0', '0000000000000000', 'worker'],
    ['node', 'futex_do_wait', '0000000000000200', 'v8'],
    ['node', 'futex_do_wait', 'fffffffe7ffbfeff', 'v8'],
    ['node', 'futex_do_wait', '0000000000000000', 'pool'],
    ['node', 'do_epoll_wait', '0000000000000000', 'worker'],
    ['node', '0', '0000000000000000', undefined],
  ])('comes from its name, or from how it sleeps: %s %s %s', (name, waitsIn, mask, kind) => {
    expect(threadKind({ name, waitsIn, status: blocked(mask) })).toBe(kind);
  });
});

describe('the processor time of a process', () => {
  it('is told apart by thread', async () => {
    const script = `
      const { Worker } = require('node:worker_threads');
      require('node:crypto').pbkdf2('a', 'b', 1000, 32, 'sha256', () => {
        new Worker('require("node:worker_threads").parentPort.on("message", () => {});', { eval: true })
          .once('online', () => console.log('ready'));
      });`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await withDeadline(once(child.stdout, 'data'), 'the process to use its threads');
      const pid = child.pid ?? 0;
      const isToldApart = async (): Promise<boolean> => {
        const { threads } = await processorTime(pid);
        const used = new Set(
          [...threads.values()].filter(({ seconds }) => seconds > 0).map(({ kind }) => kind),
        );
        return ['main', 'v8', 'pool', 'worker'].every((kind) => used.has(kind as ThreadTime['kind']));
      };
      await eventually(isToldApart, 'time of all kinds of threads');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });
});
