//! After an erasure the person is nowhere to be found.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use e2e::until::PATIENCE;
use e2e::{Ask, Learner, Offer, Scene, until, usd};
use serde_json::json;

use crate::shared;

#[test]
fn an_erased_person_is_nowhere_and_the_rest_goes_on() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer::at(usd(4_900)))?;
    let learner = scene.learner()?;
    let enrolled = learner.enroll(course, usd(4_900), Some("pm_card_visa"))?;
    assert_eq!(enrolled["status"], "succeeded", "{enrolled}");
    let mailbox = scene.platform.mailbox();
    // The contact data was of use: it is not simply lost.
    until("the mail was sent", PATIENCE, || Ok((!mailbox.to(&learner.email)?.is_empty()).then_some(())))?;

    let path = format!("/people/{}", learner.id);
    scene.staff.succeed(Ask::post(format!("{path}/erasure"), json!({ "reason": "person-request" })))?;
    let contact = json!({
        "name": learner.name, "email": learner.email, "language": "en-US", "time_zone": "America/New_York",
    });
    until("nothing can be sealed for the person any more", PATIENCE, || {
        let answer = scene.staff.send(&Ask::put(format!("{path}/contact"), contact.clone()))?;
        Ok((answer.code() == "person-erased").then_some(()))
    })?;
    let sql = scene.platform.sql();
    let key = format!(
        "SELECT count(*) FROM {}.data_key WHERE owner = '{}' AND wrapped IS NOT NULL",
        sql.schema("vault"),
        learner.id
    );
    assert_eq!(sql.number(&key)?, 0, "the key is still there");

    let book = scene.platform.book();
    assert_nowhere(&learner, &sql.dump()?, "the database")?;
    assert_nowhere(&learner, &book.everything()?, "the book")?;
    assert_nowhere(&learner, &scene.platform.logs()?, "the logs")?;

    // What stood in the book about the person is still read; who reads it again finds the same events, without the person.
    let person = learner.id.to_string();
    let told = scene.platform.succeed(&[
        "tail",
        "people.person.events.v1",
        "--key",
        &person,
        "--from",
        "beginning",
        "--json",
    ])?;
    ensure!(told.contains("PersonRegistered") && told.contains("PersonErased"), "{told}");
    let enrollment = learner.enrollment_id(course).to_string();
    let told = scene.platform.succeed(&[
        "tail",
        "learning.enrollment.events.v1",
        "--key",
        &enrollment,
        "--from",
        "beginning",
        "--json",
    ])?;
    ensure!(told.contains("EnrollmentActivated"), "{told}");
    // And what was begun before goes on.
    let withdrawn = learner.withdraw(course)?;
    assert_eq!(withdrawn["status"], "succeeded", "{withdrawn}");
    Ok(())
}

/// Neither name nor address stands there, in clear or in the encodings in which bytes are shown.
fn assert_nowhere(learner: &Learner, place: &[u8], name: &str) -> Result<()> {
    ensure!(!place.is_empty(), "{name} is empty, so nothing was searched");
    // The account alone is enough: no mail server and no given name has to stand beside it.
    let account = learner.email.split('@').next().unwrap_or_default();
    for secret in [learner.name.as_bytes(), account.as_bytes()] {
        // In base64 what stands around it shifts the text: three ways, without the characters at its ends.
        let shifted = (0..3).map(|shift| {
            let text = STANDARD_NO_PAD.encode([&[0; 2][..shift.min(2)], secret].concat());
            text[4..text.len() - 4].as_bytes().to_vec()
        });
        let forms = [secret.to_vec(), hex::encode(secret).into_bytes()].into_iter().chain(shifted);
        for form in forms {
            ensure!(
                !place.windows(form.len()).any(|window| window == form),
                "{name} holds {}",
                String::from_utf8_lossy(&form)
            );
        }
    }
    Ok(())
}
