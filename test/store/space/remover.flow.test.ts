import { expect, it } from 'vitest';
import { askOwner } from '../../../src/cli/control-client.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub, PLAIN } from '../../support/filled-hub.ts';
import { unwatchedRun } from '../../support/operation-run.ts';

it('an image that was removed from one repository and pulled again is whole in an outage', async () => {
  const hub = await filledHub();
  hub.add({ ...PLAIN, repository: 'library/other' });
  const app = await startTestApp({ hub });
  const { root, blobs } = PLAIN.image;
  const paths = ['manifests/latest', ...blobs.map(({ digest }) => `blobs/${digest}`)];
  for (const name of ['plain', 'other']) {
    for (const path of paths) expect((await app.get(`/v2/library/${name}/${path}`)).status).toBe(200);
  }
  const run = unwatchedRun();
  const order = { name: 'remove', request: { image: `plain@${root.digest}` }, run } as const;
  expect(await askOwner(app.dataDir, order)).toMatchObject({ kind: 'done' });
  for (const ask of ['HEAD', 'GET']) {
    const answer = await app.get('/v2/library/plain/manifests/latest', { method: ask });
    expect(answer.status).toBe(200);
  }
  await hub.stop();
  for (const path of paths) expect((await app.get(`/v2/library/plain/${path}`)).status).toBe(200);
});
