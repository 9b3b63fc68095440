"""Text to speech in the Generate tab: the text, the curves of a sentence, the spoken clip."""
