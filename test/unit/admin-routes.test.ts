import { createAdaptorServer } from '@hono/node-server';
import type { Server } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createAdminRoutes } from '../../src/http/admin-routes.ts';
import { listen } from '../../src/http/listener.ts';
import { fetchRaw } from '../support/http.ts';

describe('the admin API', () => {
  it('tells a fault of the program to the log, and nobody else what it was', async () => {
    const fault = new Error('a secret that was at hand');
    const errors: unknown[] = [];
    const routes = createAdminRoutes({
      adminToken: undefined,
      health: () => ({ isStopping: false, degraded: [] }),
      metrics: () => Promise.reject(fault),
      settings: () => ({}),
      operations: { refresh: () => Promise.reject(fault), resolve: () => Promise.reject(fault) },
      onInternalError: (error) => void errors.push(error),
    });
    const address = { host: '127.0.0.1', port: 0 };
    const listener = await listen(createAdaptorServer({ fetch: routes.fetch }) as Server, address);
    onTestFinished(() => listener.cut());
    for (const target of ['/metrics', '/api/v1/resolve?image=golang']) {
      const answer = await fetchRaw(`${listener.url}${target}`);
      expect(answer.status).toBe(500);
      expect(answer.body.toString()).toBe('{"error":"internal error"}');
    }
    expect(errors).toEqual([fault, fault]);
  });
});
