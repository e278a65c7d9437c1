import { createServer, get } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { lazyListener } from '../../src/http/lazy-listener.ts';
import { listen } from '../../src/http/listener.ts';
import { deferred } from '../../src/lib/deferred.ts';
import { fetchRaw } from '../support/http.ts';

describe('a listener that is loaded when it is asked', () => {
  async function serverOf(load: Parameters<typeof lazyListener>[0], faults: unknown[] = []): Promise<string> {
    const server = createServer(lazyListener(load, (error) => void faults.push(error)));
    const listener = await listen(server, { host: '127.0.0.1', port: 0 });
    onTestFinished(() => listener.cut());
    return listener.url;
  }

  it('is loaded once, for all who ask meanwhile', async () => {
    let loads = 0;
    const loaded = deferred<void>();
    const url = await serverOf(async () => {
      loads++;
      await loaded.promise;
      return (_request, response) => void response.end('here');
    });
    expect(loads).toBe(0);
    const answers = [fetchRaw(url), fetchRaw(url)];
    loaded.resolve();
    for (const { body } of await Promise.all(answers)) expect(body.toString()).toBe('here');
    expect((await fetchRaw(url)).body.toString()).toBe('here');
    expect(loads).toBe(1);
  });

  it('cuts off who asked if it cannot be loaded, and tries again for the next', async () => {
    const fault = new Error('no such file');
    const faults: unknown[] = [];
    let loads = 0;
    const url = await serverOf(() => {
      if (++loads === 1) return Promise.reject(fault);
      return Promise.resolve((_request, response) => void response.end('here'));
    }, faults);
    await expect(fetchRaw(url)).rejects.toThrow();
    expect(faults).toEqual([fault]);
    expect((await fetchRaw(url)).body.toString()).toBe('here');
  });

  it('does nothing for a client that has gone meanwhile', async () => {
    const [asked, gone, loaded] = [deferred<void>(), deferred<void>(), deferred<void>()];
    const answered: (string | undefined)[] = [];
    const answer = lazyListener(
      async () => {
        asked.resolve();
        await loaded.promise;
        return ({ url }, response) => {
          answered.push(url);
          response.end();
        };
      },
      () => undefined,
    );
    const server = createServer((request, response) => {
      response.once('close', gone.resolve);
      answer(request, response);
    });
    const listener = await listen(server, { host: '127.0.0.1', port: 0 });
    onTestFinished(() => listener.cut());
    const request = get(`${listener.url}/gone`, { agent: false }).on('error', () => undefined);
    await asked.promise;
    request.destroy();
    await gone.promise;
    loaded.resolve();
    await fetchRaw(`${listener.url}/here`);
    expect(answered).toEqual(['/here']);
  });
});
