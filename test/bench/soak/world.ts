import type { Digest } from '../../../src/oci/digest.ts';
import { generatedContent, type Content } from '../../fake/content.ts';
import type { FakeHub } from '../../fake/hub.ts';
import type { StoredManifest } from '../../fake/library.ts';
import { image, LINUX_AMD64, LINUX_ARM64, multiPlatform } from '../../fixtures/images.ts';
import { opaqueLayer, type Layer } from '../../fixtures/tar.ts';
import type { Random } from './random.ts';

const REPOSITORIES = 100;
const BASE_LAYERS = 12;
/** A few layers are long enough to be filled at several places. */
const LONG_LAYERS = 6;
const LONG_LAYER_BYTES = 40_000_000;

/** What a tag may name, and what a client fetches for it. */
export interface Version {
  /** The index or, if there is none, the manifest. */
  readonly root: StoredManifest;
  /** Of the client's platform. */
  readonly manifest: StoredManifest;
  readonly blobs: readonly Content[];
}

export interface SoakRepository {
  readonly name: string;
  /** `latest` names one of them, now this and now that. */
  readonly versions: readonly Version[];
}

/** What upstream holds. */
export interface World {
  readonly repositories: readonly SoakRepository[];
  /** Blobs that upstream may corrupt, and no others. */
  readonly frail: ReadonlySet<Digest>;
}

/** Some 1.2 GB in many images that share base layers. */
export function fillWorld(hub: FakeHub, random: Random): World {
  let seed = 100;
  const layerOf = (size: number): Layer => opaqueLayer(generatedContent({ size, seed: (seed += 1) }));
  const bases = Array.from({ length: BASE_LAYERS }, () => layerOf(random.spread(500_000, 8_000_000)));
  const long = Array.from({ length: LONG_LAYERS }, () => layerOf(LONG_LAYER_BYTES));
  const repositories = Array.from({ length: REPOSITORIES }, (_, at) => {
    const name = `library/soak-${at}`;
    const base = random.pick(bases);
    const versions = [1, 2].map((version) => {
      const own = Array.from({ length: random.between(1, 3) }, () =>
        layerOf(random.spread(20_000, 12_000_000)),
      );
      const longOne = long[at - 4];
      const layers = [base, ...own, ...(longOne === undefined ? [] : [longOne])];
      return addVersion(hub, name, { message: `${name} ${version}`, layers, isList: at % 2 === 0 });
    });
    return { name, versions };
  });
  for (const repository of repositories) moveTag(hub, repository, random);
  const blobs = repositories.flatMap(({ versions }) => versions.flatMap((version) => version.blobs));
  const frail = blobs.filter((_, at) => at % 3 === 0).map(({ digest }) => digest);
  return { repositories, frail: new Set(frail) };
}

/** Lets `latest` name one of the versions. */
export function moveTag(hub: FakeHub, { name, versions }: SoakRepository, random: Random): void {
  hub.moveTag(name, 'latest', random.pick(versions).root.digest);
}

function addVersion(
  hub: FakeHub,
  repository: string,
  { message, layers, isList }: { message: string; layers: readonly Layer[]; isList: boolean },
): Version {
  if (!isList) {
    const single = image({ message, layers });
    hub.add({ repository, image: single });
    return { root: single.root, manifest: single.root, blobs: single.blobs };
  }
  const list = multiPlatform({ message, layers, platforms: [LINUX_AMD64, LINUX_ARM64] });
  hub.add({ repository, image: list });
  const child = list.images.get('linux/amd64');
  if (child === undefined) throw new Error('the list lacks its first platform');
  return { root: list.root, manifest: child.root, blobs: child.blobs };
}
