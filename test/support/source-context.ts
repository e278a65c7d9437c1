import type { SourceContext } from '../../src/image-files/needed.ts';

/** Nothing is given from outside, and builds are for linux/amd64. */
export const PLAIN_CONTEXT: SourceContext = {
  variables: () => undefined,
  folder: 'My Shop',
  buildArgs: new Map(),
  platforms: [{ os: 'linux', architecture: 'amd64' }],
};
