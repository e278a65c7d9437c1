import { fetchRaw } from './http.ts';
import type { TestApp } from './app.ts';
import { metric } from './metrics.ts';
import { eventually } from './wait.ts';

/** Whether readyz names Docker Hub among what does not work. */
async function isDegraded(app: Pick<TestApp, 'adminUrl'>): Promise<boolean> {
  const { body } = await fetchRaw(`${app.adminUrl}/readyz`);
  return body.toString().includes('docker.io');
}

/** Resolves when the mirror knows that upstream is away; something must have failed before. */
export async function outOfReach(app: Pick<TestApp, 'adminUrl'>): Promise<void> {
  await eventually(() => isDegraded(app), 'the outage to be known');
}

/** Resolves when the mirror knows that upstream is back, which it finds out by itself. */
export async function inReach(app: Pick<TestApp, 'adminUrl'>): Promise<void> {
  await eventually(async () => !(await isDegraded(app)), 'the recovery to be known');
}

/** Resolves when Redis is in use. */
export async function redisInUse(app: Pick<TestApp, 'adminUrl'>): Promise<void> {
  await eventually(async () => (await metric(app, 'pierhead_redis_up')) === 1, 'Redis to be used');
}

/** What readyz says. */
export async function readiness(app: Pick<TestApp, 'get'>): Promise<Record<string, unknown>> {
  return JSON.parse((await app.get('/readyz')).body.toString()) as Record<string, unknown>;
}
