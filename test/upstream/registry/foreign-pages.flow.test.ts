import { describe, expect, it } from 'vitest';
import type { FaultAction } from '../../fake/faults.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub, PLAIN } from '../../support/filled-hub.ts';
import { inReach, outOfReach } from '../../support/reach.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const UNCACHED = '/v2/library/other/manifests/latest';
const BLOB = `/v2/library/plain/blobs/${PLAIN.image.config.digest}`;
const alwaysStale = { tagTtl: '0s' };

/** What a firewall says that blocks. */
const page = (code: number): FaultAction => ({
  status: { code, body: '<html>blocked</html>', headers: { 'content-type': 'text/html' } },
});

describe('a page of HTML in place of a refusal', () => {
  it.each([401, 403, 404])('(%i) is not the word of a registry, and takes nothing away', async (code) => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: alwaysStale });
    await app.get(LATEST);
    hub.fault({ match: { host: 'registry' }, do: page(code) });
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(200);
    expect(answer.header('warning')).toContain('answered with a page of HTML');
    expect((await app.get(UNCACHED)).status).toBe(503);
    expect((await app.get(BLOB)).header('cache-control')).toBe('no-store');
    hub.clearFaults();
    await eventually(async () => (await app.get(LATEST)).header('warning') === undefined, 'the recovery');
  });

  it.each([401, 403])('(%i) to everything is an outage, and known as one', async (code) => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: alwaysStale });
    await app.get(LATEST);
    hub.fault({ match: { host: 'registry' }, do: page(code) });
    await app.get(LATEST);
    await outOfReach(app);
    hub.clearFaults();
    await inReach(app);
  });

  it('(403) of a token service is no refusal either', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: alwaysStale });
    await app.get(LATEST);
    hub.expireTokens();
    hub.fault({ match: { host: 'token' }, do: page(403) });
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(200);
    expect(answer.header('warning')).toContain('the token service at');
    expect((await app.get(UNCACHED)).status).toBe(503);
  });

  it('(404) for referrers sends clients on to the tag schema all the same', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    hub.fault({ match: { kind: 'referrers' }, do: page(404) });
    expect((await app.get(`/v2/library/plain/referrers/${PLAIN.image.root.digest}`)).status).toBe(404);
  });
});
