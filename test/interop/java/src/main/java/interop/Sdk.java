package interop;

import static com.couchbase.client.java.kv.MutateInSpec.arrayAppend;
import static com.couchbase.client.java.kv.MutateInSpec.increment;
import static com.couchbase.client.java.kv.MutateInSpec.insert;
import static com.couchbase.client.java.kv.MutateInSpec.upsert;

import com.couchbase.client.core.env.Authenticator;
import com.couchbase.client.core.env.CertificateAuthenticator;
import com.couchbase.client.core.env.PasswordAuthenticator;
import com.couchbase.client.core.error.CasMismatchException;
import com.couchbase.client.core.error.CollectionExistsException;
import com.couchbase.client.core.error.CollectionNotFoundException;
import com.couchbase.client.core.error.DocumentExistsException;
import com.couchbase.client.core.error.DocumentNotFoundException;
import com.couchbase.client.core.error.FeatureNotAvailableException;
import com.couchbase.client.core.error.ScopeExistsException;
import com.couchbase.client.core.error.ScopeNotFoundException;
import com.couchbase.client.core.error.UnambiguousTimeoutException;
import com.couchbase.client.core.error.subdoc.PathExistsException;
import com.couchbase.client.core.msg.kv.DurabilityLevel;
import com.couchbase.client.core.msg.kv.MutationToken;
import com.couchbase.client.java.Bucket;
import com.couchbase.client.java.Cluster;
import com.couchbase.client.java.ClusterOptions;
import com.couchbase.client.java.Collection;
import com.couchbase.client.java.json.JsonObject;
import com.couchbase.client.java.kv.GetOptions;
import com.couchbase.client.java.kv.IncrementOptions;
import com.couchbase.client.java.kv.LookupInSpec;
import com.couchbase.client.java.kv.MutationState;
import com.couchbase.client.java.kv.ReplaceOptions;
import com.couchbase.client.java.kv.ScanOptions;
import com.couchbase.client.java.kv.ScanType;
import com.couchbase.client.java.kv.UpsertOptions;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import reactor.core.publisher.Flux;

/**
 * Tries the official Java SDK: {@code Sdk CONNECTION-STRING USER PASSWORD TLS-STRING AUTHORITY
 * CERTIFICATE KEY}. For each feature it
 * prints one line of JSON: what it is, how it went, and why not.
 */
public final class Sdk {
  private interface Attempt {
    void run() throws Exception;
  }

  private final Bucket bucket;
  private final Collection documents;

  private Sdk(Cluster cluster) {
    this.bucket = cluster.bucket("default");
    this.documents = bucket.defaultCollection();
  }

  public static void main(String[] arguments) {
    var sdk = new Sdk(connect(arguments[0], arguments[1], arguments[2]));
    sdk.tryAll();
    var secret = PasswordAuthenticator.create(arguments[1], arguments[2]);
    report("TLS", () -> byTls(arguments, secret, Sdk::documentByTls));
    report("management by TLS", () -> byTls(arguments, secret, Sdk::bucketByTls));
    report(
        "client certificate",
        () -> byTls(arguments, certificate(arguments[5], arguments[6]), Sdk::documentByTls));
    report("wrong password", () -> wrongPassword(arguments[0], arguments[1], arguments[2] + "?"));
    System.exit(0);
  }

  private static Cluster connect(String connectionString, String user, String password) {
    var options =
        ClusterOptions.clusterOptions(user, password)
            .environment(
                environment ->
                    environment.timeoutConfig(
                        timeouts ->
                            timeouts
                                .connectTimeout(Duration.ofSeconds(20))
                                .kvTimeout(Duration.ofSeconds(10))));
    return Cluster.connect(connectionString, options);
  }

  /** The SDK tries again until it has no time left, and tells why it could not. */
  private static void wrongPassword(String connectionString, String user, String password)
      throws Exception {
    var cluster = connect(connectionString, user, password);
    try {
      cluster.bucket("default").waitUntilReady(Duration.ofSeconds(2));
    } catch (UnambiguousTimeoutException error) {
      check(error.getMessage().contains("uthentication"), error.getMessage());
      return;
    }
    throw new AssertionError("it was not refused");
  }

  private static Authenticator certificate(String certificate, String key) throws Exception {
    var text = Files.readString(Path.of(key)).replaceAll("-----[A-Z ]+-----|\\s", "");
    var encoded = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text));
    try (var bytes = Files.newInputStream(Path.of(certificate))) {
      var shown = CertificateFactory.getInstance("X.509").generateCertificate(bytes);
      return CertificateAuthenticator.fromKey(
          KeyFactory.getInstance("EC").generatePrivate(encoded),
          null,
          List.of((X509Certificate) shown));
    }
  }

  private static void documentByTls(Cluster encrypted) {
    var collection = encrypted.bucket("default").defaultCollection();
    collection.upsert("encrypted", 1);
    check(collection.get("encrypted").contentAs(Integer.class) == 1, "encrypted");
  }

  private static void bucketByTls(Cluster encrypted) {
    check(encrypted.buckets().getBucket("default").name().equals("default"), "managed");
  }

  private static void byTls(
      String[] arguments, Authenticator authenticator, Consumer<Cluster> attempt) {
    var options =
        ClusterOptions.clusterOptions(authenticator)
            .environment(
                environment ->
                    environment.securityConfig(
                        security ->
                            security.enableTls(true).trustCertificate(Path.of(arguments[4]))));
    var encrypted = Cluster.connect(arguments[3], options);
    encrypted.bucket("default").waitUntilReady(Duration.ofSeconds(20));
    attempt.accept(encrypted);
    encrypted.disconnect();
  }

  private void tryAll() {
    Map<String, Attempt> features = new LinkedHashMap<>();
    features.put("login by SCRAM-SHA512", () -> bucket.waitUntilReady(Duration.ofSeconds(20)));
    features.put("documents", this::documents);
    features.put("cas", this::cas);
    features.put("counters", this::counters);
    features.put("expiry", this::expiry);
    features.put("sub-document", this::subDocument);
    features.put("xattrs", this::xattrs);
    features.put("collections", this::collections);
    features.put("unknown collection", this::unknownCollection);
    features.put("durability majority", () -> durable(DurabilityLevel.MAJORITY));
    features.put(
        "durability persistToMajority", () -> durable(DurabilityLevel.PERSIST_TO_MAJORITY));
    features.put("scans", this::scans);
    features.put("documents in parallel", this::parallel);
    features.forEach(Sdk::report);
  }

  private static void report(String feature, Attempt attempt) {
    var outcome = JsonObject.create().put("feature", feature).put("result", "works");
    outcome.put("detail", "");
    try {
      attempt.run();
    } catch (FeatureNotAvailableException error) {
      outcome.put("result", "refused").put("detail", error.getClass().getSimpleName());
    } catch (Exception | AssertionError error) {
      var text = error.getClass().getSimpleName() + ": " + error.getMessage();
      outcome.put("result", "fails").put("detail", text.substring(0, Math.min(400, text.length())));
    }
    System.out.println(outcome);
  }

  private static void check(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  private static void refused(Class<? extends Exception> kind, Attempt attempt) throws Exception {
    try {
      attempt.run();
    } catch (Exception error) {
      if (kind.isInstance(error)) return;
      throw error;
    }
    throw new AssertionError("it was not refused");
  }

  private void documents() throws Exception {
    documents.upsert("document", JsonObject.create().put("n", 1));
    check(documents.get("document").contentAsObject().getInt("n") == 1, "the document");
    documents.replace("document", "text");
    documents.remove("document");
    refused(DocumentNotFoundException.class, () -> documents.get("document"));
    check(!documents.exists("document").exists(), "it is gone");
    documents.insert("document", 1);
    refused(DocumentExistsException.class, () -> documents.insert("document", 2));
  }

  private void cas() throws Exception {
    var first = documents.upsert("cas", 1).cas();
    documents.replace("cas", 2, ReplaceOptions.replaceOptions().cas(first));
    refused(
        CasMismatchException.class,
        () -> documents.replace("cas", 3, ReplaceOptions.replaceOptions().cas(first)));
  }

  private void counters() {
    var options = IncrementOptions.incrementOptions().initial(10).delta(5);
    check(documents.binary().increment("counter", options).content() == 10, "initial");
    check(documents.binary().increment("counter", options).content() == 15, "incremented");
  }

  private void expiry() throws Exception {
    documents.upsert(
        "fleeting", 1, UpsertOptions.upsertOptions().expiry(Duration.ofSeconds(1)));
    var until = System.nanoTime() + Duration.ofSeconds(10).toNanos();
    while (documents.exists("fleeting").exists()) {
      check(System.nanoTime() < until, "it does not expire");
      Thread.sleep(50);
    }
  }

  private void subDocument() throws Exception {
    documents.upsert(
        "tree", JsonObject.create().put("name", "a").put("list", List.of(1)));
    documents.mutateIn(
        "tree",
        List.of(
            upsert("name", "b"),
            arrayAppend("list", List.of(2)),
            insert("deep.n", 1).createPath(),
            increment("deep.n", 4)));
    var found =
        documents.lookupIn(
            "tree",
            List.of(LookupInSpec.get("name"), LookupInSpec.get("deep.n"), LookupInSpec.count("list")));
    check(found.contentAs(0, String.class).equals("b"), "name");
    check(found.contentAs(1, Integer.class) == 5, "deep.n");
    check(found.contentAs(2, Integer.class) == 2, "list");
    refused(
        PathExistsException.class,
        () -> documents.mutateIn("tree", List.of(insert("name", "c"))));
  }

  private void xattrs() {
    documents.upsert("marked", JsonObject.create().put("body", 1));
    documents.mutateIn("marked", List.of(upsert("mark.by", "us").xattr().createPath()));
    var found =
        documents.lookupIn(
            "marked",
            List.of(
                LookupInSpec.get("mark.by").xattr(), LookupInSpec.get("$document.CAS").xattr()));
    check(found.contentAs(0, String.class).equals("us"), "mark.by");
    check(found.contentAs(1, String.class).matches("^0x[0-9a-f]{16}$"), "$document.CAS");
  }

  private void collections() throws Exception {
    var manager = bucket.collections();
    manager.createScope("java");
    manager.createCollection("java", "orders");
    var orders = bucket.scope("java").collection("orders");
    orders.upsert("document", "of orders");
    documents.upsert("document", "of the default");
    check(orders.get("document").contentAs(String.class).equals("of orders"), "apart");
    refused(ScopeExistsException.class, () -> manager.createScope("java"));
    refused(
        CollectionExistsException.class, () -> manager.createCollection("java", "orders"));
    refused(ScopeNotFoundException.class, () -> manager.createCollection("none", "c"));
    manager.dropCollection("java", "orders");
    refused(CollectionNotFoundException.class, () -> manager.dropCollection("java", "orders"));
    manager.dropScope("java");
    refused(ScopeNotFoundException.class, () -> manager.dropScope("java"));
  }

  /** The SDK tries again until it has no time left, as the collection may be on its way. */
  private void unknownCollection() throws Exception {
    var missing = bucket.scope("none").collection("such");
    var options = GetOptions.getOptions().timeout(Duration.ofSeconds(1));
    refused(UnambiguousTimeoutException.class, () -> missing.get("document", options));
  }

  private void durable(DurabilityLevel level) {
    documents.upsert("durable", 1, UpsertOptions.upsertOptions().durability(level));
  }

  private void scans() {
    var keys = IntStream.range(0, 20).mapToObj(index -> "scan-" + index);
    Set<String> expected = keys.collect(Collectors.toSet());
    // Scans show what is on disk: they are told what that has to be.
    var stored = expected.stream().map(key -> documents.upsert(key, key).mutationToken().get());
    var state = MutationState.from(stored.toArray(MutationToken[]::new));
    var options = ScanOptions.scanOptions().consistentWith(state);
    var found = documents.scan(ScanType.prefixScan("scan-"), options).map(each -> each.id());
    check(found.collect(Collectors.toSet()).equals(expected), "what the prefix finds");
  }

  private void parallel() {
    var reactive = documents.reactive();
    var count = 5_000;
    Flux.range(0, count)
        .flatMap(index -> reactive.upsert("parallel-" + index, index), 256)
        .blockLast();
    var sum =
        Flux.range(0, count)
            .flatMap(index -> reactive.get("parallel-" + index), 256)
            .map(found -> (long) found.contentAs(Integer.class))
            .reduce(0L, Long::sum)
            .block();
    check(sum == (long) count * (count - 1) / 2, "all of them");
  }
}
