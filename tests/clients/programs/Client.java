// A SCIM client on java.net.http, which offers h2c with every request: `java Client BASE TOKEN STEPS`; see test_clients.py.
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;

public class Client {
  public static void main(String[] args) throws Exception {
    HttpClient client = HttpClient.newHttpClient();
    Pattern identity = Pattern.compile("\"id\"\\s*:\\s*\"([^\"]+)\"");
    String id = "";
    for (String line : Files.readAllLines(Path.of(args[2]))) {
      String[] step = line.split("\t", -1);
      byte[] body = step[2].getBytes(StandardCharsets.UTF_8);
      HttpRequest.BodyPublisher publisher = HttpRequest.BodyPublishers.noBody();
      if (body.length > 0 && step[3].equals("chunked")) {
        publisher = HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body));
      } else if (body.length > 0) {
        publisher = HttpRequest.BodyPublishers.ofByteArray(body);
      }
      HttpRequest.Builder request =
          HttpRequest.newBuilder(URI.create(args[0] + step[1].replace("{id}", id)))
              .header("Authorization", "Bearer " + args[1])
              .method(step[0], publisher);
      if (body.length > 0) {
        request.header("Content-Type", "application/scim+json");
      }
      HttpResponse<byte[]> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
      byte[] content = answer.body();
      if (content.length > 0 && answer.headers().firstValue("Content-Encoding").orElse("").equals("gzip")) {
        content = new GZIPInputStream(new ByteArrayInputStream(content)).readAllBytes();
      }
      Matcher found = identity.matcher(new String(content, StandardCharsets.UTF_8));
      if (step[0].equals("POST") && found.find()) {
        id = found.group(1);
      }
      System.out.println(
          String.join(
              "\t",
              "" + answer.statusCode(),
              answer.headers().firstValue("Content-Type").orElse(""),
              answer.headers().firstValue("Location").orElse(""),
              answer.headers().firstValue("ETag").orElse(""),
              Base64.getEncoder().encodeToString(content)));
    }
  }
}
