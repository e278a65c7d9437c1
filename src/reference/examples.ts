import { CLIENTS, clientFiles, isClientName } from '../setup/client-files.ts';

const EXAMPLE_HOST = 'pierhead.example.net:5000';

/** A file under `config/clients/`. */
interface ExampleFile {
  readonly name: string;
  readonly text: string;
}

/** The file of each client for a mirror of Docker Hub: by plain HTTP, and by TLS in `tls/`. */
export function exampleFiles(): readonly ExampleFile[] {
  const schemes = [
    { folder: '', url: `http://${EXAMPLE_HOST}`, hasOwnAuthority: false },
    { folder: 'tls/', url: `https://${EXAMPLE_HOST}`, hasOwnAuthority: true },
  ];
  const files = schemes.flatMap(({ folder, url, hasOwnAuthority }) =>
    Object.keys(CLIENTS)
      .filter(isClientName)
      .map((client) => clientFiles(client, { url, registry: 'docker.io', hasOwnAuthority }).file)
      .map(({ name, text }) => ({ name: `${folder}${name}`, text })),
  );
  // Some clients share a file.
  return [...new Map(files.map((file) => [file.name, file])).values()];
}
