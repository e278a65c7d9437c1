import type { ImageSource, SourceContext } from '../../src/image-files/needed.ts';
import { readImageSource } from '../../src/image-files/source.ts';
import { formatListedImage } from '../../src/oci/image-name.ts';
import { parsePlatform } from '../../src/oci/platform.ts';

/** Nothing is given from outside, and builds are for linux/amd64. */
export const PLAIN_CONTEXT: SourceContext = {
  variables: () => undefined,
  folder: 'My Shop',
  buildArgs: new Map(),
  platforms: [{ os: 'linux', architecture: 'amd64' }],
};

/** What a file needs, a line each: the image, its platforms and the line where it is named. */
export function needs(
  path: string,
  text: string,
  variables: Readonly<Record<string, string>> = {},
): string[] {
  return shown(source(path, text, variables));
}

export function source(
  path: string,
  text: string,
  variables: Readonly<Record<string, string>> = {},
): ImageSource {
  return readImageSource({ ...PLAIN_CONTEXT, path, text, variables: (name) => variables[name] });
}

export function shown({ images, problems, notes, further }: ImageSource): string[] {
  return [
    ...images.map(({ image, place }) => `${formatListedImage(image)} ${place}`),
    ...problems,
    ...notes.map((note) => `note: ${note}`),
    ...further.map(({ path, place, service }) => `${path} ${place} ${JSON.stringify(service ?? {})}`),
  ];
}

/** What builds of a Dockerfile need for these platforms, `os/architecture[/variant]` each. */
export function builds(
  text: string,
  platforms: readonly string[],
  buildArgs: Record<string, string> = {},
): string[] {
  return shown(
    readImageSource({
      ...PLAIN_CONTEXT,
      path: 'Dockerfile',
      text,
      platforms: platforms.flatMap((name) => parsePlatform(name) ?? []),
      buildArgs: new Map(Object.entries(buildArgs)),
    }),
  );
}
