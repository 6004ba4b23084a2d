/** Carries out a Dockerfile's steps in plain folders, without Docker: one folder for each stage. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'

export interface Instruction {
  readonly name: string
  readonly text: string
}

/** What a Dockerfile makes: the last stage's files and how a container of it is run. */
export interface Image {
  /** The folder that is the image's working directory. */
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
  /** Arguments of HEALTHCHECK CMD and of ENTRYPOINT. */
  readonly health: readonly string[]
  readonly entrypoint: readonly string[]
  readonly user: string
  readonly stopSignal: string
  readonly volumes: readonly string[]
}

interface Stage {
  readonly root: string
  workdir: string
  readonly environment: Record<string, string>
  readonly said: Map<string, string>
}

/** One instruction a line; comments and continued lines as Docker reads them. */
export function parseDockerfile(text: string): Instruction[] {
  const lines = text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ')
    .split('\n')
  return lines
    .filter(line => line.trim() !== '')
    .map(line => {
      const [, name, rest] = /^([A-Z]+) +(.*)$/.exec(line.trim())!
      return { name: name!, text: rest!.trim() }
    })
}

/** Builds in `target`, copying from `context`; commands run in `environment` and their stage's. */
export function buildImage(
  instructions: readonly Instruction[],
  {
    context,
    target,
    environment,
  }: {
    context: string
    target: string
    environment: NodeJS.ProcessEnv
  },
): Image {
  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  for (const instruction of instructions) {
    if (instruction.name === 'FROM') {
      const name = /^\S+ AS (\S+)$/.exec(instruction.text)?.[1] ?? `stage-${stages.size}`
      stage = { root: join(target, name), workdir: '/', environment: {}, said: new Map() }
      mkdirSync(stage.root, { recursive: true })
      stages.set(name, stage)
    } else {
      carryOut(instruction, { stage: stage!, stages, context, environment })
    }
  }
  return describe(stage!)
}

interface Build {
  readonly stage: Stage
  readonly stages: ReadonlyMap<string, Stage>
  readonly context: string
  readonly environment: NodeJS.ProcessEnv
}

function carryOut({ name, text }: Instruction, build: Build): void {
  const { stage } = build
  switch (name) {
    case 'WORKDIR':
      stage.workdir = text
      mkdirSync(inside(stage, '.'), { recursive: true })
      break
    case 'ENV': {
      const [variable, value] = text.split('=')
      stage.environment[variable!] = value!
      break
    }
    case 'COPY':
      copy(text.split(/ +/), build)
      break
    case 'RUN':
      // What a test runner preloads into its children is not in an image.
      execFileSync('/bin/sh', ['-c', `unset NODE_OPTIONS; ${text}`], {
        cwd: inside(stage, '.'),
        env: { ...build.environment, ...stage.environment },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      break
    case 'USER':
    case 'VOLUME':
    case 'EXPOSE':
    case 'STOPSIGNAL':
    case 'HEALTHCHECK':
    case 'ENTRYPOINT':
      stage.said.set(name, text)
      break
    default:
      throw new Error(`the Dockerfile's steps are to be plain, and ${name} is not known here`)
  }
}

function copy(words: readonly string[], { stage, stages, context }: Build): void {
  const from = words.find(word => word.startsWith('--from='))?.slice('--from='.length)
  const paths = words.filter(word => !word.startsWith('--'))
  const target = inside(stage, paths.at(-1)!)
  for (const path of paths.slice(0, -1)) {
    const source = from === undefined ? join(context, path) : join(stages.get(from)!.root, path)
    // As Docker does it: a folder's content, or a file under its own name into `./`.
    const isFolder = statSync(source).isDirectory()
    cpSync(source, isFolder ? target : join(target, basename(path)), {
      recursive: true,
      verbatimSymlinks: true,
    })
  }
}

function inside(stage: Stage, path: string): string {
  return join(stage.root, path.startsWith('/') ? path : join(stage.workdir, path))
}

function describe(stage: Stage): Image {
  const said = (name: string): string => stage.said.get(name) ?? ''
  const list = (text: string): string[] => JSON.parse(text) as string[]
  return {
    folder: inside(stage, '.'),
    environment: stage.environment,
    health: list(said('HEALTHCHECK').replace(/^.*?CMD /, '')),
    entrypoint: list(said('ENTRYPOINT')),
    user: said('USER'),
    stopSignal: said('STOPSIGNAL'),
    volumes: said('VOLUME').split(/ +/),
  }
}
