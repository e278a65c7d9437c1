import { startFakeHub, type FakeHub } from '../../fake/hub.ts';
import { image } from '../../fixtures/images.ts';
import { fetchVerified } from '../load.ts';
import type { ServerProcess } from '../server-process.ts';

const HOT = { repository: 'library/hot', tags: ['latest'], image: image({ message: 'hot' }) };
const PATH = '/v2/library/hot/manifests/latest';

/** The scripted stand-in, with an image; whoever asks need not say who he is, so that it may stand behind nginx. */
export async function startHub(): Promise<FakeHub> {
  const hub = await startFakeHub({ auth: 'none' });
  hub.add(HOT);
  return hub;
}

/** Has the server fetch the tag of the image; resolves to its URL there. */
export async function hotTag(server: ServerProcess): Promise<string> {
  const url = `${server.url}${PATH}`;
  await fetchVerified(url, HOT.image.root.digest);
  return url;
}
