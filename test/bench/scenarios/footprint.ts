import { setTimeout as sleep } from 'node:timers/promises';
import { residentBytesOfTree } from '../process-probe.ts';
import type { Scenario } from './scenario.ts';

const IDLE_MS = 3000;

/** From the start of the process to its first good answer, on an empty data directory. */
export const START: Scenario = {
  name: 'start',
  title: 'start to ready',
  unit: 'ms',
  state: 'cold',
  goals: [{ bound: { atMost: 350 } }],
  prepare: () => Promise.resolve(),
  measure: (server) => Promise.resolve({ value: server.readyMs }),
};

export const IDLE: Scenario = {
  name: 'idle-memory',
  title: 'resident memory, idle',
  unit: 'MB',
  state: 'cold',
  goals: [{ bound: { atMost: 90 } }],
  prepare: () => sleep(IDLE_MS),
  measure: async (server) => ({ value: (await residentBytesOfTree(server.pid)) / 1e6 }),
};
