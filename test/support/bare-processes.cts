/*
 * Every test file loads this before anything else, see `.taprc`. tap registers hooks for the loading of
 * modules in each of its processes and in each process that these start, so as to know which files to
 * show the coverage of, and so as to replace modules. Where neither is asked for, they only cost: a
 * program under test takes three times as long to start as it does for a user.
 *
 * It is CommonJS, as `--require` comes before tap's own `--import`.
 */
if (process.env['_TAPJS_PROCESSINFO_COVERAGE_'] === '0') {
  const module = process.getBuiltinModule('node:module')
  module.register = () => {}
  module.syncBuiltinESMExports()
  // With one of these there already, process-on-spawn does not put itself around child_process.
  Reflect.set(globalThis, Symbol.for('process-on-spawn@*:singletonId'), {
    version: 1,
    listeners: [],
    unwrap() {},
  })
  delete process.env['NODE_OPTIONS']
}
