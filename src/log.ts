import { type DestinationStream, type Logger, pino } from 'pino';

/** Members that may hold secrets, wherever they stand in what is logged. */
const SECRETS = ['jwe', 'jwk', 'privateJwk', 'd', 'hmac', 'secret', 'password', 'databaseUrl'];

/** A logger that writes JSON lines; secrets by name are left out. */
export function makeLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: null,
    redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), remove: true },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
