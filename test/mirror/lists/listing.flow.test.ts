import { describe, expect, it } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { filledHub, PLAIN } from '../../support/filled-hub.ts';

const body = (answer: { body: Buffer }) => JSON.parse(answer.body.toString()) as unknown;

describe('the tags of a repository', () => {
  it("are upstream's, page by page, with links to this mirror", async () => {
    const hub = await filledHub();
    for (const tag of ['a', 'b', 'c']) hub.moveTag('library/plain', tag, PLAIN.image.root.digest);
    const app = await startTestApp({ hub });
    const all = await app.get('/v2/library/plain/tags/list');
    expect(body(all)).toEqual({ name: 'library/plain', tags: ['a', 'b', 'c', 'latest'] });
    expect(all.header('cache-status')).toBe('pierhead; fwd=bypass');
    const first = await app.get('/v2/library/plain/tags/list?n=2');
    expect(body(first)).toEqual({ name: 'library/plain', tags: ['a', 'b'] });
    const next = /^<(.*)>; rel="next"$/.exec(first.header('link') ?? '')?.[1];
    expect(next).toBe('/v2/library/plain/tags/list?n=2&last=b');
    const second = await app.get(next ?? '');
    expect(body(second)).toEqual({ name: 'library/plain', tags: ['c', 'latest'] });
  });

  it('are those in the cache, with a warning, while upstream is away', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await app.get('/v2/library/plain/manifests/latest');
    await hub.stop();
    const answer = await app.get('/v2/library/plain/tags/list');
    expect(body(answer)).toEqual({ name: 'library/plain', tags: ['latest'] });
    expect(answer.header('warning')).toMatch(/^299 - ".*only cached tags are listed"$/);
    expect((await app.get('/v2/library/golang/tags/list')).status).toBe(503);
  });

  it('of a repository that does not exist are a 404', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/no/such/tags/list');
    expect(answer.status).toBe(404);
    expect(body(answer)).toMatchObject({ errors: [{ code: 'NAME_UNKNOWN' }] });
  });
});

describe('the catalogue', () => {
  it('shows what is cached, page by page', async () => {
    const hub = await filledHub();
    hub.add({ ...PLAIN, repository: 'org/app' });
    const app = await startTestApp({ hub });
    expect(body(await app.get('/v2/_catalog'))).toEqual({ repositories: [] });
    for (const name of ['org/app', 'library/plain', 'library/golang'])
      await app.get(`/v2/${name}/manifests/latest`);
    const names = ['docker.io/library/golang', 'docker.io/library/plain', 'docker.io/org/app'];
    expect(body(await app.get('/v2/_catalog'))).toEqual({ repositories: names });
    const first = await app.get('/v2/_catalog?n=2');
    expect(body(first)).toEqual({ repositories: names.slice(0, 2) });
    const next = /^<(.*)>; rel="next"$/.exec(first.header('link') ?? '')?.[1] ?? '';
    const last = await app.get(next);
    expect(body(last)).toEqual({ repositories: names.slice(2) });
    expect(last.header('link')).toBeUndefined();
  });
});
