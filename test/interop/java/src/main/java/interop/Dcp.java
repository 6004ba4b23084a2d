package interop;

import com.couchbase.client.dcp.Client;
import com.couchbase.client.dcp.StreamFrom;
import com.couchbase.client.dcp.StreamTo;
import com.couchbase.client.dcp.config.DcpControl;
import com.couchbase.client.dcp.highlevel.DatabaseChangeListener;
import com.couchbase.client.dcp.highlevel.Deletion;
import com.couchbase.client.dcp.highlevel.FlowControlMode;
import com.couchbase.client.dcp.highlevel.Mutation;
import com.couchbase.client.dcp.highlevel.Rollback;
import com.couchbase.client.dcp.highlevel.StreamFailure;
import com.couchbase.client.dcp.state.StateFormat;
import com.couchbase.client.java.json.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Copies a bucket with the official Java DCP client: {@code Dcp CONNECTION-STRING USER PASSWORD
 * STATE-FILE [COLLECTION...]}, or some of its collections. It goes on from the state file if that is there. On standard input it takes {@code
 * report}, which prints the copy as a line of JSON, and {@code save}, which writes the state and
 * the copy, and ends.
 */
public final class Dcp implements DatabaseChangeListener {
  private final Client client;
  private final Map<String, String> copy = new ConcurrentHashMap<>();
  private final AtomicInteger rollbacks = new AtomicInteger();
  private final AtomicInteger failures = new AtomicInteger();
  private final AtomicInteger expirations = new AtomicInteger();
  private final AtomicInteger received = new AtomicInteger();

  private Dcp(Client client) {
    this.client = client;
  }

  public static void main(String[] arguments) throws Exception {
    var collections = List.of(arguments).subList(4, arguments.length);
    var client =
        Client.builder()
            .collectionsAware(!collections.isEmpty())
            .collectionNames(collections)
            .connectionString(arguments[0])
            .credentials(arguments[1], arguments[2])
            .bucket("default")
            .controlParam(DcpControl.Names.ENABLE_EXPIRY_OPCODE, !collections.isEmpty())
            .userAgent("interop", "1")
            .bootstrapTimeout(Duration.ofSeconds(20))
            .flowControl(256 * 1024)
            .build();
    new Dcp(client).run(Path.of(arguments[3]));
    System.exit(0);
  }

  private void run(Path stateFile) throws Exception {
    client.listener(this, FlowControlMode.AUTOMATIC);
    client.connect().block();
    if (Files.exists(stateFile)) {
      var saved = JsonObject.fromJson(Files.readAllBytes(stateFile));
      saved.getObject("copy").toMap().forEach((key, value) -> copy.put(key, (String) value));
      var state = saved.getString("state").getBytes(StandardCharsets.UTF_8);
      client.recoverState(StateFormat.JSON, state).block();
    } else {
      client.initializeState(StreamFrom.BEGINNING, StreamTo.INFINITY).block();
    }
    client.startStreaming().block();
    var commands = new BufferedReader(new InputStreamReader(System.in));
    for (var command = commands.readLine(); command != null; command = commands.readLine()) {
      if (command.equals("report")) {
        report();
      } else if (command.equals("save")) {
        // What has come in is handed to the listener on a thread of the client's own.
        client.disconnect().block();
        var state = new String(client.sessionState().export(StateFormat.JSON));
        var saved = JsonObject.create().put("state", state).put("copy", JsonObject.from(copy));
        Files.write(stateFile, saved.toBytes());
        report();
        return;
      }
    }
  }

  private void report() {
    System.out.println(
        JsonObject.create()
            .put("copy", JsonObject.from(copy))
            .put("received", received.get())
            .put("rollbacks", rollbacks.get())
            .put("failures", failures.get())
            .put("expirations", expirations.get()));
  }

  @Override
  public void onMutation(Mutation mutation) {
    received.incrementAndGet();
    copy.put(mutation.getKey(), new String(mutation.getContent(), StandardCharsets.UTF_8));
  }

  @Override
  public void onDeletion(Deletion deletion) {
    received.incrementAndGet();
    if (deletion.isDueToExpiration()) expirations.incrementAndGet();
    copy.remove(deletion.getKey());
  }

  @Override
  public void onRollback(Rollback rollback) {
    rollbacks.incrementAndGet();
    rollback.resume();
  }

  @Override
  public void onFailure(StreamFailure failure) {
    failures.incrementAndGet();
    System.err.println("stream of vbucket " + failure.getVbucket() + ": " + failure.getCause());
    if (failure.getVbucket() >= 0) client.startStreaming(List.of(failure.getVbucket())).subscribe();
  }
}
