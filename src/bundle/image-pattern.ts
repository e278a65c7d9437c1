import { compileGlob } from '../lib/glob.ts';
import { formatRepositoryName } from '../oci/image-name.ts';
import { DOCKER_HUB, registryPattern, repositoryKey, type Repository } from '../oci/reference.ts';

/**
 * A test for images by name, `*` within a path component and `**` for anything: `golang`, `bitnami/*`,
 * `ghcr.io/org/**`, `library/*`, `docker.io/library/*`, `golang:1.*`.
 */
export function imagePattern(pattern: string): (repository: Repository, tag: string | undefined) => boolean {
  const matches = compileGlob(registryPattern(pattern));
  return function fits(repository, tag) {
    const { host, name: whole } = repository;
    const names = [formatRepositoryName(repository), repositoryKey(repository)];
    if (host === DOCKER_HUB) names.push(whole);
    return names.some((name) => matches(name) || (tag !== undefined && matches(`${name}:${tag}`)));
  };
}
